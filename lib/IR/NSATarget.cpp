//===- NSATarget.cpp - What kernels assume about chips --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace nsa;

TargetAttr TargetAttr::getNVIDIA(MLIRContext *context) {
  // The PTX for one chip runs on all later ones, so memory's facts are those of
  // the most demanding chip that was measured (H200): 4.8 TB/s, 700 ns, 132
  // multiprocessors with room for 2,048 threads. Any GPU's blocks have 48 KiB
  // of shared memory, any PTX 4,352 bytes of parameters.
  return get(context, /*warp=*/32, /*threads=*/128, /*vectors=*/1,
             /*accessBytes=*/16, /*sharedBytes=*/48 * 1024,
             /*tileBytes=*/40 * 1024, /*parameterBytes=*/4352,
             /*inFlightBytes=*/4800 * 700, /*residentThreads=*/132 * 2048,
             /*shuffleTells=*/true, /*warpReduces=*/true);
}

TargetAttr TargetAttr::of(Operation *op) {
  for (Operation *at = op; at; at = at->getParentOp())
    if (auto target = at->getAttrOfType<TargetAttr>(attrName))
      return target;
  return getNVIDIA(op->getContext());
}

LogicalResult TargetAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t warp, int64_t threads, int64_t vectors,
                                 int64_t accessBytes, int64_t sharedBytes,
                                 int64_t tileBytes, int64_t parameterBytes,
                                 int64_t inFlightBytes, int64_t residentThreads,
                                 bool, bool) {
  auto isPower = [](int64_t value, int64_t most) {
    return value >= 1 && value <= most && llvm::isPowerOf2_64(value);
  };
  int64_t numbers[] = {vectors,        sharedBytes,   tileBytes,
                       parameterBytes, inFlightBytes, residentThreads};
  auto expectNumber = [&](int64_t value) {
    return expect(emitError, value >= 1 && value <= INT32_MAX, // (C2)
                  "numbers from 1 to 2^31-1 but got ", value);
  };
  return success(
      // An element of 64 bits is one access.
      expect(emitError, // (C1)
             isPower(threads, 1024) && isPower(warp, threads) &&
                 (accessBytes == 8 || accessBytes == 16),
             "powers of 2: 'threads' of at most 1024, 'warp' of at most "
             "'threads' and 'access_bytes' of 8 or 16, but got ",
             threads, ", ", warp, " and ", accessBytes) &&
      llvm::all_of(numbers, expectNumber) &&
      expect(emitError, vectors <= TilingAttr::mostVectors, // (C2)
             "'vectors' of at most ", TilingAttr::mostVectors, " but got ",
             vectors) &&
      expect(emitError, tileBytes <= sharedBytes, // (C2)
             "'tile_bytes' of at most the ", sharedBytes,
             " of 'shared_bytes' but got ", tileBytes));
}

LogicalResult NSADialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  bool isTarget = isa<TargetAttr>(attribute.getValue()) && isa<ModuleOp>(op);
  return success(
      expect(op, isTarget || attribute.getName() != TargetAttr::attrName, "'",
             TargetAttr::attrName, "' to be a '#nsa.target' of a module"));
}
