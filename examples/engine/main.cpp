//===- main.cpp - A decode loop as an engine has it -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The engine owns its buffers, of the size of the largest batch, and binds the
// step to them once. It captures a graph for each of a few batch sizes, with
// the metadata step inside (a model would follow it), and then replays: in
// every iteration requests come and go, lengths grow, the smallest graph that
// fits is taken and the rows beyond the requests are padded. Every replay is
// checked, all three backends, against a few lines of C++.
//
//   engine [ITERATIONS]
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include "nsa/Runtime/Runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

namespace rt = nsa::runtime;
using namespace engine;

namespace {

constexpr int64_t mostRequests = 32, slots = 40, maxLen = 192, pageSize = 64,
                  topK = 2048;
constexpr int64_t pages = (maxLen + pageSize - 1) / pageSize;
constexpr const char *backends[] = {"b0", "b1", "b2"};
// A length that padding rows have: any will do, and one token is cheap.
constexpr int64_t padLength = 1;

/// A buffer of the engine, and its description, which launches keep.
struct Buffer {
  Buffer(Device &device, std::vector<int64_t> dims, int bits)
      : device(device), shape(std::move(dims)), elements(1) {
    for (int64_t size : shape)
      elements *= size;
    array.data = device.allocate(elements * bits / 8);
    array.device_type = device.type();
    array.device_id = 0;
    array.dtype_code = NSA_DTYPE_INT;
    array.dtype_bits = bits;
    array.ndim = static_cast<int32_t>(shape.size());
    array.shape = shape.data();
  }
  Buffer(const Buffer &) = delete;

  template <typename T> void write(const std::vector<T> &values) {
    device.upload(array.data, values.data(), values.size() * sizeof(T));
  }
  std::vector<int32_t> read() const {
    std::vector<int32_t> values(elements);
    device.download(values.data(), array.data, elements * 4);
    return values;
  }

  Device &device;
  std::vector<int64_t> shape;
  int64_t elements;
  nsa_array array{};
};

/// A field of all backends is what it has to be; says what is not.
class Checker {
public:
  explicit Checker(const std::map<std::string, Buffer> &buffers)
      : buffers(buffers) {}

  void expect(const std::string &field, const std::vector<int32_t> &expected,
              size_t count) {
    for (const char *backend : backends) {
      std::string name = std::string(backend) + "_" + field;
      std::vector<int32_t> values = buffers.at(name).read();
      for (size_t i = 0; i != count; ++i)
        if (values[i] != expected[i]) {
          std::printf("iteration %ld: %s[%zu]: expected %d but got %d\n",
                      iteration, name.c_str(), i, expected[i], values[i]);
          std::exit(1);
        }
      checked += count;
    }
  }

  long iteration = 0, checked = 0;

private:
  const std::map<std::string, Buffer> &buffers;
};

std::vector<int32_t> sumsOf(const std::vector<int32_t> &values) {
  std::vector<int32_t> sums(1, 0);
  for (int32_t value : values)
    sums.push_back(sums.back() + value);
  return sums;
}

void run(long iterations) {
  std::unique_ptr<Device> device = pick();
  std::map<std::string, Buffer> buffers;
  std::vector<nsa_argument> arguments;
  auto add = [&](const std::string &name, std::vector<int64_t> shape,
                 int bits) {
    auto it = buffers.try_emplace(name, *device, std::move(shape), bits).first;
    arguments.push_back({it->first.c_str(), &it->second.array, 0});
  };
  add("seq_lens", {mostRequests}, 64);
  add("req_pool_indices", {mostRequests}, 64);
  add("req_to_token", {slots, maxLen}, 32);
  for (std::string backend : backends) {
    add(backend + "_cache_seqlens", {mostRequests}, 32);
    add(backend + "_cu_seqlens_k", {mostRequests + 1}, 32);
    add(backend + "_nsa_cache_seqlens", {mostRequests}, 32);
    add(backend + "_nsa_cu_seqlens_k", {mostRequests + 1}, 32);
    add(backend + "_page_table_1", {mostRequests, maxLen}, 32);
    add(backend + "_real_page_table", {mostRequests, pages}, 32);
  }

  // Loads the kernels, and checks the buffers: once.
  rt::Step step = rt::loadBundle(BUNDLE).at(0);
  rt::Binding bound = step.bind(arguments);

  std::map<int64_t, Graph> graphs;
  for (int64_t bs : {1, 2, 4, 8, 16, 32})
    graphs[bs] = device->capture([&bound, bs](void *stream) {
      bound.launch({bs, maxLen}, stream);
      // ... and the model's kernels.
    });

  std::mt19937 random(7);
  auto below = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  std::vector<int32_t> tokens(slots * maxLen);
  for (int32_t &token : tokens)
    token = static_cast<int32_t>(below(1 << 24));
  buffers.at("req_to_token").write(tokens);

  Checker checker(buffers);
  std::vector<int64_t> lens, pools;
  double seconds = 0;
  for (long i = 0; i != iterations; ++i) {
    // Requests come, go, and grow.
    for (int64_t &length : lens)
      length = std::min(length + 1, maxLen);
    if (lens.empty() || (static_cast<int64_t>(lens.size()) < mostRequests &&
                         below(3) == 0)) {
      lens.push_back(1 + below(maxLen));
      pools.push_back(below(slots));
    } else if (below(8) == 0) {
      size_t gone = below(lens.size());
      lens.erase(lens.begin() + gone);
      pools.erase(pools.begin() + gone);
      if (lens.empty())
        continue;
    }
    auto &[bs, graph] =
        *graphs.lower_bound(static_cast<int64_t>(lens.size()));
    std::vector<int64_t> paddedLens = lens, paddedPools = pools;
    paddedLens.resize(bs, padLength);
    paddedPools.resize(bs, 0);
    buffers.at("seq_lens").write(paddedLens);
    buffers.at("req_pool_indices").write(paddedPools);

    device->finish();
    auto begin = std::chrono::steady_clock::now();
    graph();
    device->finish();
    seconds += std::chrono::duration<double>(
                   std::chrono::steady_clock::now() - begin)
                   .count();

    checker.iteration = i;
    std::vector<int32_t> lengths(paddedLens.begin(), paddedLens.end());
    std::vector<int32_t> clipped, table, realTable;
    for (int64_t b = 0; b != bs; ++b) {
      clipped.push_back(static_cast<int32_t>(std::min(paddedLens[b], topK)));
      const int32_t *row = tokens.data() + paddedPools[b] * maxLen;
      table.insert(table.end(), row, row + maxLen);
      for (int64_t page = 0; page != pages; ++page)
        realTable.push_back(row[page * pageSize] / pageSize);
    }
    checker.expect("cache_seqlens", lengths, bs);
    checker.expect("cu_seqlens_k", sumsOf(lengths), bs + 1);
    checker.expect("nsa_cache_seqlens", clipped, bs);
    checker.expect("nsa_cu_seqlens_k", sumsOf(clipped), bs + 1);
    checker.expect("page_table_1", table, bs * maxLen);
    checker.expect("real_page_table", realTable, bs * pages);
  }
  std::printf("%ld iterations on %s, %zu graphs: all of %ld elements right\n",
              iterations, device->name(), graphs.size(), checker.checked);
  std::printf("%.2f us a replay, with the wait for it\n",
              1e6 * seconds / iterations);
}

} // namespace

int main(int argc, char **argv) {
  try {
    run(argc > 1 ? std::atol(argv[1]) : 5000);
  } catch (const std::exception &error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  return 0;
}
