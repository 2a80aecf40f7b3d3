// Buffers of the passes, and records that store adjacently what is used together.
#pragma once

#include <algorithm>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "problem.hpp"

constexpr long rounded_up(long number, long multiple) { return (number + multiple - 1) / multiple * multiple; }

enum class Content { zero, any };

// Memory for `size` elements, aligned for vectors; in huge pages where it is large and the system supports them.
template <class Element>
class Buffer {
   public:
    explicit Buffer(long size = 0, Content content = Content::zero)
        : alignment_{size * sizeof(Element) >= 2 * huge_page ? huge_page : 64},
          data_(static_cast<Element*>(::operator new(std::max(size, 1L) * sizeof(Element), alignment_))) {
#if defined(MADV_HUGEPAGE)
        if (alignment_ == std::align_val_t{huge_page}) madvise(data_, size * sizeof(Element), MADV_HUGEPAGE);
#endif
        if (content == Content::zero) std::fill_n(data_, size, Element{});
    }
    Buffer(Buffer&& other) noexcept : alignment_(other.alignment_), data_(std::exchange(other.data_, nullptr)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(alignment_, other.alignment_);
        std::swap(data_, other.data_);
        return *this;
    }
    ~Buffer() { ::operator delete(data_, alignment_); }
    operator Element*() { return data_; }
    operator const Element*() const { return data_; }

   private:
    static constexpr std::size_t huge_page = std::size_t(1) << 21;
    std::align_val_t alignment_;
    Element* data_;
};

// One record per token of each of several rows. The tokens of a bucket are far apart in memory: with adjacent fields a
// token costs one cache miss instead of one per tensor.
class Records {
   public:
    // Adds a field and returns its offset; all fields are added before `allocate`.
    template <class Element>
    long add(long size) {
        const long offset = bytes_;
        bytes_ += rounded_up(size * sizeof(Element), field_bytes);
        return offset;
    }

    void allocate(long rows, long tokens) {
        tokens_ = tokens;
        memory_ = Buffer<char>(rows * tokens * bytes_, Content::any);
    }

    template <class Element>
    Rows<Element> field(long row, long offset) {
        return {reinterpret_cast<Element*>(&memory_[row * tokens_ * bytes_ + offset]), bytes_};
    }

   private:
    long bytes_ = 0, tokens_ = 0;
    Buffer<char> memory_;
};

// A tensor of the problem, of all tokens or of the queries, which the passes access in records or in place.
template <class Element>
class Field {
   public:
    Field(const Problem& problem, const Tensor& tensor, long size, Records& records, bool in_records)
        : tensor_(tensor),
          records_(in_records ? &records : nullptr),
          before_(problem.tokens - size),
          head_dim_(problem.head_dim),
          offset_(in_records ? records.add<Element>(head_dim_) : 0) {}

    bool in_records() const { return records_; }

    // Its [tokens or queries] for a row of the tensor, the i-th row of its group.
    Rows<Element> rows(long row, long i) const {
        if (!records_) return tokens_of<Element>(tensor_, row);
        const Rows<Element> all = records_->field<Element>(i, offset_);
        return {all[before_], all.stride_bytes};
    }

    // Copies the tokens first <= t < stop from the tensor to the records.
    void load(long row, long i, long first, long stop) const {
        if (!records_) return;
        const Rows<Element> from = tokens_of<Element>(tensor_, row), to = rows(row, i);
        for (long t = std::max(first - before_, 0L); t < stop - before_; ++t) std::copy_n(from[t], head_dim_, to[t]);
    }

   private:
    const Tensor& tensor_;
    Records* const records_;
    const long before_, head_dim_, offset_;
};
