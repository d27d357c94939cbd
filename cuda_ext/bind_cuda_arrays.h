// Python's arrays on a GPU. Kernels only ever get the device's own memory: arrays that are there already (torch's CUDA
// tensors) are used in place, and of arrays on the host there are copies. Who owns what, and when it is copied:
//
//   inputs and outputs of one call   In, Out: copied to the device at its beginning, and back at its end
//   a field's arrays                 Mirrored: copied to the device when a Field is made, and kept there. Fields made
//                                    with `of` use the same copies, so that pictures show what a trainer is training
//   photos' pixels, chosen pixels,   copied to the device when a Trainer is made; the host's are not needed after that
//   known depths, allowed cells
//   the table's master copy, the     Mirrored, like the trained field's arrays: while training goes on, the device's are
//   moments, the cells' values       the true ones. `Trainer.fetch` copies all of these to the host, for a save;
//                                    `Trainer.refresh` copies them to the device after a change on the host
//   photos' exposures, the cameras'  Mirrored, and so small that each `run` copies them to the device when it begins,
//   gradients                        and back when it ends: between runs, the host's are the true ones
//
// No memory is shared by host and device ("managed"): under Windows and WSL2 and on some cards there is none.
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

// For arrays that are read on the host.
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

// The same for arrays as large as all photos, which may be in a file that is mapped into memory. They are copied in
// pieces, because the driver may pin what it copies.
template <class T>
void copy_large(gpu::Buffer<T>& to, const T* from, size_t n) {
    constexpr size_t kPiece = size_t(64) << 20;
    to.resize(n);
    for (size_t done = 0; done < n * sizeof(T); done += kPiece) {
        const size_t bytes = std::min(kPiece, n * sizeof(T) - done);
        gpu::copy(reinterpret_cast<char*>(to.data()) + done, reinterpret_cast<const char*>(from) + done, bytes, nullptr);
        gpu::synchronize(nullptr);
    }
}

// An array that stays on the device: the array itself if it is there, else a copy. Of the copy and the array on the
// host, each changes without the other; `to_device` and `to_host` make them equal. Both only begin the copying.
template <class T>
class Mirrored {
  public:
    explicit Mirrored(const DeviceArray<T>& a) : array_(aligned(a)), data_(a.data()) {
        if (on_device(a)) return;
        copy_.resize(a.size());
        data_ = copy_.data();
        to_device();
    }
    T* data() const { return data_; }
    size_t size() const { return array_.size(); }
    void to_device() const { copy(data_, array_.data()); }
    void to_host() const { copy(array_.data(), data_); }

  private:
    void copy(T* to, const T* from) const {
        if (to != from) gpu::copy(to, from, size() * sizeof(T), nullptr);
    }
    DeviceArray<T> array_;
    T* data_;
    gpu::Buffer<T> copy_;
};

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
