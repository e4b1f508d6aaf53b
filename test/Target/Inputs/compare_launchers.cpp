//===- compare_launchers.cpp - Headers and modules against the runtime ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// compare_launchers FOLDER COUNT: gives COUNT sets of random arguments to each
// step by its generated header, by its module of tvm-ffi and by libnsa_runtime,
// and compares status, message and what the kernels are given. Kernels of the
// runtime and of the modules are functions here and the header's driver is a
// stand-in, so no address is looked at.
//
//===----------------------------------------------------------------------===//

// The runtime between two generated headers: any order is right.
#include "replay.h"

#include "nsa/Runtime/Runtime.h"

#include "expanded.h"
#include "optional.h"
#include "overflow.h"
#include "sizes.h"

#include "nsa-c/plan.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

using Values = std::vector<uint64_t>;

//===-- Drivers -----------------------------------------------------------===//

/// What each launched kernel was given.
static std::vector<Values> launched;
/// Parameters of each kernel of the step at hand.
static std::vector<size_t> parameterCounts;
static size_t kernelAt;

static void record(size_t kernel, void **parameters) {
  Values values;
  for (size_t i = 0; i != parameterCounts[kernel]; ++i)
    values.push_back(*static_cast<uint64_t *>(parameters[i]));
  launched.push_back(std::move(values));
}

CUresult cuGetErrorString(CUresult, const char **) { return CUDA_SUCCESS; }
CUresult cuModuleLoadData(CUmodule *module, const void *) {
  *module = nullptr;
  kernelAt = 0;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *) {
  *function = reinterpret_cast<CUfunction>(kernelAt++);
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernel(CUfunction function, unsigned, unsigned, unsigned,
                        unsigned, unsigned, unsigned, unsigned, CUstream,
                        void **parameters, void **) {
  record(reinterpret_cast<size_t>(function), parameters);
  return CUDA_SUCCESS;
}

template <size_t kernel> static void hostKernel(void **parameters) {
  record(kernel, parameters);
}
static constexpr nsa_host_fn hostKernels[] = {hostKernel<0>, hostKernel<1>,
                                              hostKernel<2>, hostKernel<3>,
                                              hostKernel<4>, hostKernel<5>};

//===-- Modules of tvm-ffi ------------------------------------------------===//

/// What they take, as in nsa-c/tvm_ffi.h.
struct Any {
  int32_t type;
  uint32_t padding;
  int64_t value;
};
struct Tensor {
  void *data;
  int32_t deviceType, deviceId, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  const int64_t *shape, *strides;
  uint64_t byteOffset;
};

static std::string raised;

extern "C" {
void TVMFFIErrorSetRaisedFromCStr(const char *, const char *message) {
  raised = message;
}
void *TVMFFIEnvGetStream(int32_t, int32_t) { return nullptr; }
int TVMFFIStringFromByteArray(const void *, void *) { return -1; }

// Their host kernels, by the names that the compiler gives.
#define KERNEL(step, name, number)                                             \
  void step##_##name(void **parameters) __asm__(#step "." #name);              \
  void step##_##name(void **parameters) { record(number, parameters); }
KERNEL(replay, replay, 0)
KERNEL(expanded, expanded, 0)
KERNEL(optional, optional, 0)
KERNEL(overflow, overflow, 0)
KERNEL(sizes, sizes_a, 0)
KERNEL(sizes, sizes_b, 1)
KERNEL(sizes, sizes_c, 2)
KERNEL(sizes, sizes_d, 3)
KERNEL(sizes, sizes_e, 4)

#define MODULE(step)                                                           \
  int __tvm_ffi_##step(void *, const Any *, int32_t, Any *);                   \
  int step##_ffi_is_plain(const Any *);
MODULE(replay) MODULE(expanded) MODULE(optional) MODULE(overflow) MODULE(sizes)
}

//===-- Arguments ---------------------------------------------------------===//

class Random {
public:
  int64_t below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  }
  bool oneIn(int64_t n) { return below(n) == 0; }
  int64_t size() {
    static constexpr int64_t odd[] = {-1,
                                      0,
                                      1,
                                      INT32_MAX,
                                      INT64_C(1) << 31,
                                      INT64_C(1) << 32,
                                      INT64_C(1) << 44,
                                      INT64_C(1) << 60,
                                      INT64_MAX,
                                      INT64_MIN + 1};
    return oneIn(40) ? odd[below(10)] : oneIn(3) ? below(600) : below(9);
  }

private:
  std::mt19937_64 random{20261126};
};

/// The arguments of one call, from the header's description of the step.
class Call {
public:
  Call(const nsa_signature &step, const size_t *offsets, size_t size)
      : step(step), offsets(offsets), bytes(size / 8 + 1) {}

  void *get() { return bytes.data(); }

  void fill(Random &random) {
    int64_t pitch = 1 + random.below(40);
    bool isOneBuffer = random.oneIn(3);
    // Sizes that mostly fit, so that calls also succeed.
    int64_t roomy = random.oneIn(2) ? 700 : 0;
    for (size_t i = 0; i != step.num_ports; ++i) {
      const nsa_port &port = step.ports[i];
      if (port.kind == NSA_KIND_SIZE) {
        at<int64_t>(i) = random.oneIn(4)   ? NSA_SIZE_UNSET
                         : random.oneIn(4) ? INT32_MAX
                         : random.oneIn(3) ? random.size()
                                           : random.below(9);
        continue;
      }
      nsa_view &view = at<nsa_view>(i);
      view.size[1] = view.stride[1] = 0;
      int64_t inner = 1;
      for (int32_t d = port.ndim - 1; d >= 0; --d) {
        const nsa_dim &dim = port.dims[d];
        bool isRight = !random.oneIn(60);
        view.size[d] = isRight && dim.size != NSA_ANY ? dim.size
                       : isRight && dim.extent >= 0   ? roomy + dim.plus + 4
                       : isRight && roomy && d == 1 && random.oneIn(9)
                           ? INT64_C(1) << 44
                       : isRight && roomy ? roomy + 4
                                          : random.size();
        view.stride[d] = isRight && dim.stride > NSA_CONTIGUOUS ? dim.stride
                         : isOneBuffer && d == 0 && port.ndim > 1 && isRight
                             ? pitch
                         : isRight || random.oneIn(2) ? inner
                                                      : random.size();
        if (random.oneIn(60))
          view.stride[d] = -view.stride[d];
        if (__builtin_mul_overflow(inner, std::max<int64_t>(view.size[d], 1),
                                   &inner))
          inner = 1;
      }
      uint64_t address =
          isOneBuffer ? 4096 + 8 * static_cast<uint64_t>(random.below(64))
                      : (i + 1) << 40;
      if (random.oneIn(50))
        address += static_cast<uint64_t>(random.below(9));
      if (random.oneIn(100) || (port.is_optional && random.oneIn(3)))
        address = random.oneIn(2) ? 0 : UINT64_MAX - 8191;
      view.data = reinterpret_cast<void *>(address);
      // Another argument's array, or a column of it.
      size_t other = static_cast<size_t>(
          random.below(static_cast<int64_t>(step.num_ports)));
      if (random.oneIn(8) && other < i &&
          step.ports[other].kind != NSA_KIND_SIZE) {
        view = at<nsa_view>(other);
        if (random.oneIn(2))
          view.data = reinterpret_cast<void *>(
              reinterpret_cast<uintptr_t>(view.data) +
              static_cast<uintptr_t>(port.item_size * random.below(8)));
      }
    }
  }

  /// The same for the runtime.
  std::vector<nsa_argument> arguments(std::vector<nsa_array> &arrays) {
    arrays.resize(step.num_ports);
    std::vector<nsa_argument> result;
    for (size_t i = 0; i != step.num_ports; ++i) {
      const nsa_port &port = step.ports[i];
      if (port.kind == NSA_KIND_SIZE) {
        if (at<int64_t>(i) != NSA_SIZE_UNSET)
          result.push_back({port.name, nullptr, at<int64_t>(i)});
        continue;
      }
      nsa_view &view = at<nsa_view>(i);
      nsa_array &array = arrays[i];
      array = {};
      array.data = view.data;
      array.device_type = NSA_DEVICE_CPU;
      array.dtype_code = NSA_DTYPE_INT;
      array.dtype_bits = static_cast<uint8_t>(8 * port.item_size);
      array.ndim = port.ndim;
      array.shape = view.size;
      array.strides = view.stride;
      result.push_back({port.name, &array, 0});
    }
    return result;
  }

  /// The same for the module of tvm-ffi.
  std::vector<Any> values(std::vector<Tensor> &tensors) {
    tensors.resize(step.num_ports);
    std::vector<Any> result;
    for (size_t i = 0; i != step.num_ports; ++i) {
      const nsa_port &port = step.ports[i];
      if (port.kind == NSA_KIND_SIZE) {
        bool isGiven = at<int64_t>(i) != NSA_SIZE_UNSET;
        result.push_back({isGiven ? 1 : 0, 0, isGiven ? at<int64_t>(i) : 0});
        continue;
      }
      nsa_view &view = at<nsa_view>(i);
      tensors[i] = {
          view.data, NSA_DEVICE_CPU, 0,
          port.ndim, NSA_DTYPE_INT,  static_cast<uint8_t>(8 * port.item_size),
          1,         view.size,      view.stride,
          0};
      result.push_back(
          {/*DLTensor*=*/7, 0, reinterpret_cast<int64_t>(&tensors[i])});
    }
    return result;
  }

  void print() {
    for (size_t i = 0; i != step.num_ports; ++i) {
      std::cout << "  " << step.ports[i].name << ": ";
      if (step.ports[i].kind == NSA_KIND_SIZE) {
        std::cout << at<int64_t>(i) << '\n';
        continue;
      }
      nsa_view &view = at<nsa_view>(i);
      std::cout << view.data << " sizes " << view.size[0] << ", "
                << view.size[1] << " strides " << view.stride[0] << ", "
                << view.stride[1] << '\n';
    }
  }

private:
  template <typename T> T &at(size_t place) {
    return *reinterpret_cast<T *>(reinterpret_cast<char *>(bytes.data()) +
                                  offsets[place]);
  }

  const nsa_signature &step;
  const size_t *offsets;
  std::vector<uint64_t> bytes;
};

//===-- Comparison --------------------------------------------------------===//

/// A message without numbers and names: what kind it is.
static std::string kindOf(const std::string &message) {
  std::string kind;
  bool isQuoted = false;
  for (char c : message) {
    if (c == '\'')
      isQuoted = !isQuoted;
    else if (!isQuoted && (std::isalpha(static_cast<unsigned char>(c)) ||
                           (c == ' ' && !kind.empty() && kind.back() != ' ')))
      kind += c;
  }
  return kind;
}

static std::string read(const std::string &path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

static std::map<std::string, int> kinds;

/// `isPlain`: whether the straight checks of a header are enough for a call;
/// `callModule` and `isPlainModule`: the same of the module of tvm-ffi.
template <typename IsPlain, typename Launch, typename CallModule,
          typename IsPlainModule>
static bool compare(const std::string &folder, const nsa_signature &step,
                    const size_t *offsets, size_t size, int64_t count,
                    IsPlain &&isPlain, Launch &&launch, CallModule &&callModule,
                    IsPlainModule &&isPlainModule) {
  std::string manifest = read(folder + "/" + step.step + ".json");
  std::vector<nsa_host_kernel> kernels;
  for (size_t i = 0; i != step.num_kernels; ++i)
    kernels.push_back({step.kernels[i].name, hostKernels[i]});
  nsa::runtime::Step runtime(manifest, "", kernels);
  // How many parameters there are, only the manifest says.
  parameterCounts.clear();
  for (size_t at = manifest.find("\"parameters\""); at != std::string::npos;
       at = manifest.find("\"parameters\"", at + 1)) {
    size_t end =
        std::min(manifest.find("\"parameters\"", at + 1), manifest.size());
    size_t fields = 0;
    for (size_t f = manifest.find("\"field\"", at); f < end;
         f = manifest.find("\"field\"", f + 1))
      ++fields;
    parameterCounts.push_back(fields);
  }

  Random random;
  Call call(step, offsets, size);
  std::vector<nsa_array> arrays;
  std::vector<Tensor> tensors;
  int passed = 0, plain = 0, plainModule = 0;
  for (int64_t i = 0; i != count; ++i) {
    call.fill(random);
    std::vector<nsa_argument> arguments = call.arguments(arrays);
    launched.clear();
    nsa_status expected = nsa_step_launch(runtime.get(), arguments.data(),
                                          arguments.size(), nullptr);
    std::vector<Values> expectedLaunches = std::move(launched);
    launched.clear();
    nsa_message message;
    nsa_status actual = launch(call.get(), &message);
    std::string expectedText = expected == NSA_OK ? "" : nsa_last_error();
    std::string actualText = actual == NSA_OK ? "" : message.text;
    passed += expected == NSA_OK;
    plain += isPlain(call.get());
    std::vector<Values> actualLaunches = std::move(launched);
    launched.clear();
    std::vector<Any> values = call.values(tensors);
    Any result;
    // It may look at a size before an array that is wrong, too.
    bool isModuleSame =
        (callModule(nullptr, values.data(), static_cast<int32_t>(values.size()),
                    &result) == 0) == (expected == NSA_OK) &&
        launched == expectedLaunches;
    bool isModulePlain = isPlainModule(values.data());
    plainModule += isModulePlain;
    ++kinds[expected == NSA_OK ? "ok" : kindOf(expectedText)];
    if (expected == actual && expectedText == actualText &&
        expectedLaunches == actualLaunches && isModuleSame &&
        isModulePlain <= (expected == NSA_OK))
      continue;
    std::cout << step.step << ": call " << i << " differs\n  runtime "
              << nsa_status_name(expected) << ": " << expectedText
              << "\n  header " << nsa_status_name(actual) << ": " << actualText
              << "\n  module: " << (isModuleSame ? "the same" : raised)
              << (isModulePlain ? ", by the straight checks\n" : "\n");
    call.print();
    return false;
  }
  std::cout << step.step << ": same\n";
  std::cerr << step.step << ": " << passed << " of " << count
            << " calls were launched, " << plain << " by the straight checks, "
            << plainModule << " by those of the module\n";
  bool isNeverPlain = std::string(step.step) == "overflow";
  if (passed == 0 || plain > passed || (plain == 0) != isNeverPlain ||
      (plainModule == 0) != isNeverPlain)
    std::cout << step.step << ": expected calls that pass, and by both ways\n";
  return true;
}

#define COMPARE(step, isPlain)                                                 \
  [&] {                                                                        \
    step##_module module;                                                      \
    nsa_message message;                                                       \
    if (step##_load(&module, &message) != NSA_OK)                              \
      return false;                                                            \
    return compare(                                                            \
        argv[1], step##_signature, step##_offsets, sizeof(step##_args), count, \
        [&](const void *args) {                                                \
          int64_t sizes[8], blocks[8];                                         \
          return isPlain(static_cast<const step##_args *>(args), sizes,        \
                         blocks);                                              \
        },                                                                     \
        [&](const void *args, nsa_message *message) {                          \
          return step##_launch(&module,                                        \
                               static_cast<const step##_args *>(args),         \
                               nullptr, message);                              \
        },                                                                     \
        __tvm_ffi_##step, step##_ffi_is_plain);                                \
  }()

/// What an expression that may leave 64 bits has.
static bool areNeverPlain(const overflow_args *, int64_t *, int64_t *) {
  return false;
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 1;
  int64_t count = std::atoll(argv[2]);
  bool isSame =
      COMPARE(replay, replay_is_plain) && COMPARE(sizes, sizes_is_plain) &&
      COMPARE(expanded, expanded_is_plain) &&
      COMPARE(optional, optional_is_plain) && COMPARE(overflow, areNeverPlain);
  // What the generator has to reach for the comparison to mean something.
  for (const char *kind :
       {"leaves bits", "more than blocks", "fits into memory",
        "overlaps no other", "very same view", "missing", "name it to agree",
        "apart from each other", "aligned to", "expected stride",
        "but got null"}) {
    bool isReached = false;
    for (const auto &[text, times] : kinds)
      isReached |= text.find(kind) != std::string::npos;
    if (!isReached)
      std::cout << "no call was refused with \"" << kind << "\"\n";
  }
  for (const auto &[kind, times] : kinds)
    std::cerr << times << "  " << kind << '\n';
  return isSame ? 0 : 1;
}
