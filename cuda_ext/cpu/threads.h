// A pool of threads for phases of a few hundred microseconds. Between phases, workers spin briefly before they sleep,
// because waking a thread takes as long as a short phase.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace nerfscene {

class ThreadPool {
  public:
    explicit ThreadPool(int threads);
    ~ThreadPool();
    int size() const { return int(workers_.size()) + 1; }
    // Calls task(worker, i) for every i in [0, n), on all threads and in any order. Returns when all calls are done.
    void run(int n, const std::function<void(int, int)>& task);

  private:
    void work(int worker);
    void drain(int worker);
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> phase_{0};
    std::atomic<int> next_{0}, busy_{0};
    std::atomic<bool> stop_{false};
    int count_ = 0;
    const std::function<void(int, int)>* task_ = nullptr;
};

}  // namespace nerfscene
