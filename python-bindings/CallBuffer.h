//===- CallBuffer.h - What belongs to one call ------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_CALLBUFFER_H
#define NSA_PYTHON_CALLBUFFER_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nsa::python {

/// Values that belong to one call: another one, of another thread or of
/// Python code that this one runs, has its own. On the stack while there are
/// at most `N`, so that the usual launch allocates nothing.
template <size_t N, typename T = int64_t> class CallBuffer {
public:
  CallBuffer() = default;
  CallBuffer(const CallBuffer &) = delete;
  CallBuffer &operator=(const CallBuffer &) = delete;

  void push_back(T value) {
    if (count < N)
      local[count] = value;
    else
      spill(value);
    ++count;
  }
  void assign(size_t size, T value) {
    count = 0;
    spilt.clear();
    while (count != size)
      push_back(value);
  }

  T *data() { return count > N ? spilt.data() : local.data(); }
  const T *data() const { return count > N ? spilt.data() : local.data(); }
  size_t size() const { return count; }
  const T *begin() const { return data(); }
  const T *end() const { return data() + count; }
  T &operator[](size_t place) { return data()[place]; }

private:
  void spill(T value) {
    if (count == N)
      spilt.assign(local.begin(), local.end());
    spilt.push_back(value);
  }

  std::array<T, N> local;
  std::vector<T> spilt;
  size_t count = 0;
};

} // namespace nsa::python

#endif // NSA_PYTHON_CALLBUFFER_H
