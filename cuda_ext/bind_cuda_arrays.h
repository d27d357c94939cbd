// Python's arrays on a GPU: arrays that it can access are used in place; others are copied to it, and results back.
#pragma once
#include "bind_common.h"
#include "cuda/runtime.h"

namespace {

template <class T>
using DeviceArray = nb::ndarray<T, nb::c_contig>;

gpu::Stream stream_of(uint64_t handle) { return reinterpret_cast<gpu::Stream>(handle); }

template <class A>
bool on_device(const A& a) {
    const int type = a.device_type();
    return type == nb::device::cuda::value || type == nb::device::cuda_managed::value ||
           gpu::is_device_accessible(a.data());
}

// For arrays that are read on the host. Managed memory is allowed: arrays from `shared` are in it.
template <class A>
void require_host(const A& a, const char* what) {
    require(a.device_type() != nb::device::cuda::value, what);
}
// Kernels read and write four numbers at once, so arrays used in place must be aligned. Copies made here always are.
template <class A>
const A& aligned(const A& a) {
    require(!on_device(a) || reinterpret_cast<uintptr_t>(a.data()) % 16 == 0,
            "arrays that the device uses in place must start at a multiple of 16 bytes; pass a copy of this slice");
    return a;
}

template <class T>
void copy_to_device(gpu::Buffer<T>& to, const T* from, size_t n, gpu::Stream stream) {
    to.resize(n);
    gpu::copy(to.data(), from, n * sizeof(T), stream);
}

// An input on the device: the array itself, or a copy that lives as long as this object.
template <class T>
class In {
  public:
    In(const DeviceArray<const T>& a, gpu::Stream stream) : data_(a.data()) {
        if (on_device(a) || a.size() == 0) return;
        copy_to_device(copy_, a.data(), a.size(), stream);
        data_ = copy_.data();
    }
    const T* data() const { return data_; }
    T* writable() const { return const_cast<T*>(data_); }  // for structures that hold inputs and outputs alike

  private:
    const T* data_;
    gpu::Buffer<T> copy_;
};

// An output: the array itself, or device memory that `finish` copies back to it. With `keep`, that memory starts with
// the array's contents, for kernels that add to them or leave parts unchanged.
template <class T>
class Out {
  public:
    Out(const DeviceArray<T>& a, gpu::Stream stream, bool keep = false)
        : host_(a.data()), data_(a.data()), n_(a.size()), stream_(stream) {
        if (on_device(a) || n_ == 0) return;
        copy_.resize(n_);
        if (keep) gpu::copy(copy_.data(), host_, n_ * sizeof(T), stream);
        data_ = copy_.data();
    }
    T* data() const { return data_; }
    void finish() {
        if (data_ == host_) return;
        gpu::copy(host_, data_, n_ * sizeof(T), stream_);
        gpu::synchronize(stream_);
    }

  private:
    T *host_, *data_;
    size_t n_;
    gpu::Stream stream_;
    gpu::Buffer<T> copy_;
};

// Copies outputs back, and waits for the kernels, which may still be using the caller's temporaries.
template <class... O>
void finish(gpu::Stream stream, O&... outputs) {
    (outputs.finish(), ...);
    gpu::synchronize(stream);
}

}  // namespace
