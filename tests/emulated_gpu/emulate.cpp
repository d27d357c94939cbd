#include "emulate.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulate {
namespace {

constexpr size_t kStack = 64 * 1024;

struct Fiber {
    jmp_buf here;
    ucontext_t first;
    std::unique_ptr<char[]> stack;
    bool started = false, done = false;
};
// A point where threads wait for each other: how many have arrived, and how often all of them have. A warp also has what
// its lanes passed. It has two sets of slots, used in turn, because one lane may arrive at the next such point before
// another lane has read its values from this one.
struct Meeting {
    int arrived = 0, generation = 0, size = 0;
};
struct Warp : Meeting {
    uint64_t value[2][32];
    float a[2][16][16], b[2][8][16];  // the tensor cores' operands; b by columns
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Meeting block;
int current = 0, alive = 0;
jmp_buf scheduler;
const std::function<void()>* work = nullptr;
std::vector<unsigned char> memory;
std::string failure;

void back_to_scheduler() {
    if (_setjmp(fibers[current].here) == 0) _longjmp(scheduler, 1);
}
void entry() {
    try {
        (*work)();
    } catch (const std::exception& e) {
        failure = e.what();
    }
    fibers[current].done = true;
    _longjmp(scheduler, 1);
}
// Waits until all threads have arrived. Returns how often that had happened before.
int meet(Meeting& m) {
    const int mine = m.generation;
    if (++m.arrived == m.size) {
        m.arrived = 0;
        ++m.generation;
    } else {
        while (m.generation == mine) back_to_scheduler();
    }
    return mine;
}
Warp& my_warp() { return warps[current / 32]; }

}  // namespace

unsigned char* shared_memory() {
    return reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
}
void block_barrier() { meet(block); }
void warp_barrier() { meet(my_warp()); }
const uint64_t* exchange(uint64_t value) {
    Warp& w = my_warp();
    const int slot = w.generation & 1;
    w.value[slot][current % 32] = value;
    meet(w);
    return w.value[slot];
}
void mma(float* c, const uint32_t* a, const uint32_t* b) {
    Warp& w = my_warp();
    const int slot = w.generation & 1, lane = current % 32, g = lane / 4, p = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i)
        for (int which = 0; which < 2; ++which)
            w.a[slot][g + i % 2 * 8][p + i / 2 * 8 + which] = half_to_float(uint16_t(a[i] >> (16 * which)));
    for (int i = 0; i < 2; ++i)
        for (int which = 0; which < 2; ++which)
            w.b[slot][g][p + i * 8 + which] = half_to_float(uint16_t(b[i] >> (16 * which)));
    meet(w);
    for (int i = 0; i < 4; ++i) {
        const float *row = w.a[slot][g + 8 * (i / 2)], *column = w.b[slot][p + i % 2];
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += row[k] * column[k];
        c[i] += sum;
    }
}

void run(int blocks, int threads, size_t shared, const std::function<void()>& kernel) {
    if (threads % 32 != 0 || threads > 1024 || threads <= 0) throw std::runtime_error("a block must be whole warps, at most 1024 threads");
    if (shared > 227 * 1024) throw std::runtime_error("more shared memory than any GPU has");
    if (blocks <= 0) throw std::runtime_error("a grid of no blocks");
    // The order of threads between barriers must not matter. A test runs kernels in both orders.
    const bool backwards = std::getenv("NERFSCENE_EMULATED_BACKWARDS") != nullptr;
    work = &kernel;
    failure.clear();
    gridDim.x = unsigned(blocks), blockDim.x = unsigned(threads);
    if (fibers.size() < size_t(threads)) fibers.resize(threads);
    for (int b = 0; b < blocks; ++b) {
        // Shared memory holds garbage when a block starts, as it does on a GPU.
        memory.assign(shared + 16, 0xff);
        warps.assign(threads / 32, Warp());
        for (Warp& w : warps) w.size = 32;
        block = Meeting();
        block.size = threads;
        blockIdx.x = unsigned(b);
        for (int i = 0; i < threads; ++i) fibers[i].started = fibers[i].done = false;
        alive = threads;
        while (alive > 0) {
            bool moved = false;
            for (int turn = 0; turn < threads; ++turn) {
                const int i = backwards ? threads - 1 - turn : turn;
                Fiber& f = fibers[i];
                if (f.done) continue;
                current = i;
                threadIdx.x = unsigned(i);
                const int block_seen = block.generation, block_came = block.arrived;
                Warp& w = warps[i / 32];
                const int warp_seen = w.generation, warp_came = w.arrived;
                if (_setjmp(scheduler) == 0) {
                    if (f.started) {
                        _longjmp(f.here, 1);
                    } else {
                        f.started = true;
                        if (!f.stack) f.stack.reset(new char[kStack]);
                        getcontext(&f.first);
                        f.first.uc_stack.ss_sp = f.stack.get();
                        f.first.uc_stack.ss_size = kStack;
                        f.first.uc_link = nullptr;
                        makecontext(&f.first, entry, 0);
                        setcontext(&f.first);
                    }
                }
                if (fibers[i].done) --alive;
                moved |= fibers[i].done || block.generation != block_seen || block.arrived != block_came ||
                         w.generation != warp_seen || w.arrived != warp_came;
            }
            if (!failure.empty()) throw std::runtime_error(failure);
            // In a whole round no thread arrived anywhere or ended: some wait for others that will never come.
            if (!moved && alive > 0)
                throw std::runtime_error("deadlock: threads wait at a barrier that others never reach");
        }
    }
}

uint16_t float_to_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f800000u) return uint16_t(sign | (magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {  // a subnormal half, in units of 2^-24
        float m;
        std::memcpy(&m, &magnitude, 4);
        return uint16_t(sign | uint32_t(std::nearbyint(double(m) * 16777216.0)));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
}
float half_to_float(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * float(fraction) * 5.9604644775390625e-8f;
    const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

}  // namespace emulate
