#include "threads.h"

#include <chrono>

namespace nerfscene {

ThreadPool::ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        phase_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& t : workers_) t.join();
}

void ThreadPool::drain(int worker) {
    for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) (*task_)(worker, i);
}

void ThreadPool::run(int n, const std::function<void(int, int)>& task) {
    if (workers_.empty() || n <= 1) {
        for (int i = 0; i < n; ++i) task(0, i);
        return;
    }
    task_ = &task;
    count_ = n;
    next_.store(0);
    busy_.store(int(workers_.size()));
    {
        std::lock_guard<std::mutex> lock(mutex_);
        phase_.fetch_add(1);
    }
    wake_.notify_all();
    drain(0);
    while (busy_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

void ThreadPool::work(int worker) {
    uint64_t seen = 0;
    for (;;) {
        const auto start = std::chrono::steady_clock::now();
        while (phase_.load(std::memory_order_acquire) == seen) {
            if (std::chrono::steady_clock::now() - start > std::chrono::microseconds(200)) {
                std::unique_lock<std::mutex> lock(mutex_);
                // Not wait(): compiled by GCC 12, it would require a libstdc++ newer than many systems have.
                wake_.wait_for(lock, std::chrono::hours(1), [&] { return phase_.load() != seen; });
            }
        }
        seen = phase_.load();
        if (stop_) return;
        drain(worker);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace nerfscene
