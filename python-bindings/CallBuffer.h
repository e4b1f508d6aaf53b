//===- CallBuffer.h - Numbers of one call -----------------------*- C++ -*-===//
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

/// Numbers that belong to one call: another one, of another thread or of
/// Python code that this one runs, has its own. On the stack while there are
/// at most `N`, so that the usual launch allocates nothing.
template <size_t N> class CallBuffer {
public:
  CallBuffer() = default;
  CallBuffer(const CallBuffer &) = delete;
  CallBuffer &operator=(const CallBuffer &) = delete;

  void push_back(int64_t value) {
    if (count == N && spilt.empty())
      spilt.assign(local.begin(), local.end());
    if (count >= N)
      spilt.push_back(value);
    else
      local[count] = value;
    ++count;
  }
  void assign(size_t size, int64_t value) {
    count = 0;
    spilt.clear();
    while (count != size)
      push_back(value);
  }

  int64_t *data() { return count > N ? spilt.data() : local.data(); }
  const int64_t *data() const {
    return count > N ? spilt.data() : local.data();
  }
  size_t size() const { return count; }
  const int64_t *begin() const { return data(); }
  const int64_t *end() const { return data() + count; }
  int64_t &operator[](size_t place) { return data()[place]; }

private:
  std::array<int64_t, N> local;
  std::vector<int64_t> spilt;
  size_t count = 0;
};

} // namespace nsa::python

#endif // NSA_PYTHON_CALLBUFFER_H
