// Memory for a level's gradients and for the table's rows, which are read and written in no order.
#pragma once
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "driver.h"

namespace nerfscene {

// An array of zeros. A large one lies in large pages where the system has them: with ordinary ones, the processor would
// look up the page of nearly every row.
template <class T>
class LargeArray {
  public:
    LargeArray() = default;
    explicit LargeArray(size_t n) : size_(n) {
        constexpr size_t page = size_t(2) << 20;
        const size_t bytes = n * sizeof(T), unit = bytes < page ? 64 : page, whole = (bytes + unit) / unit * unit;
        at_.reset(static_cast<T*>(std::aligned_alloc(unit, whole)));
        if (!at_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
        if (unit == page) madvise(at_.get(), whole, MADV_HUGEPAGE);
#endif
        for (size_t i = 0; i < n; ++i) at_[i] = T();
    }
    T* data() const { return at_.get(); }
    size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T[], Free> at_;
    size_t size_ = 0;
};

// Owns the arrays of a RowGradients.
class RowGradientsMemory {
  public:
    // Makes room for `rows` rows. There may be none in use.
    RowGradients& with_room(size_t rows, int features) {
        if (rows > capacity_) {
            capacity_ = rows + rows / 4;
            gradients_ = LargeArray<float>(capacity_ * features), rows_ = LargeArray<uint32_t>(capacity_ + 1);
            own_ = {gradients_.data(), rows_.data(), 0};
        }
        return own_;
    }

  private:
    LargeArray<float> gradients_;
    LargeArray<uint32_t> rows_;
    RowGradients own_{};
    size_t capacity_ = 0;
};

// Adds gradients to those of the level's rows, (rows, features), and forgets them.
inline void take_gradients(RowGradients& from, int features, float* to) {
    for (int i = 0; i < from.count; ++i)
        for (int f = 0; f < features; ++f) {
            float& g = from.gradients[size_t(i) * features + f];
            to[size_t(from.rows[i]) * features + f] += g;
            g = 0.0f;
        }
    from.count = 0;
}

}  // namespace nerfscene
