//===- Guards.cpp - Checks of every access of a kernel --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a wrong access does stands in its own branch: the path of right ones has
// the comparisons and nothing else. Kernels get no parameter for the records,
// so that whoever launches them, a captured graph for one, need not know.
//
//===----------------------------------------------------------------------===//

#include "Guards.h"

#include "Claims.h"
#include "Kernel.h"

#include "nsa/Codegen/GuardedOps.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nsa;

namespace {
struct Access {
  Value memref;
  OperandRange indices;
  /// Elements in the innermost dimension.
  int64_t width;
  bool isStore;
};

/// A comparison of an index with a size.
struct Check {
  int64_t dim;
  Value index, size, isInside;
};

class Guards {
public:
  Guards(LaunchOp launch, GuardWords buffer, Claims claims, bool isGPU);
  void guard(Operation *op, const Access &access) {
    OpBuilder b(op);
    Arith math(b, op->getLoc());
    SmallVector<Check> checks = emitChecks(math, access);
    if (checks.empty())
      return;
    Value isInside;
    for (const Check &check : checks)
      isInside = math.both(isInside, check.isInside);
    // So that what is recorded stands out of the way.
    isInside = math.apply<LLVM::ExpectOp>(isInside, math.i1(true));
    SmallVector<Value> guarded = math.emitIf(
        op->getResultTypes(), isInside,
        [&] {
          op->moveBefore(b.getInsertionBlock(), b.getInsertionPoint());
          return SmallVector<Value>(op->getResults());
        },
        [&] {
          emitFailed(math, access, checks);
          return llvm::map_to_vector(
              op->getResultTypes(), [&](Type type) { return math.zero(type); });
        });
    for (auto [result, value] : llvm::zip_equal(op->getResults(), guarded))
      result.replaceUsesWithIf(value, [&](OpOperand &use) {
        return use.getOwner()->getParentOp() != value.getDefiningOp();
      });
    if (claims.has(getPort(access)))
      claim(op, access);
  }

private:
  SmallVector<Check> emitChecks(Arith &math, const Access &access) {
    SmallVector<Check> checks;
    for (auto [dim, index] : llvm::enumerate(access.indices)) {
      Value size = math.apply<memref::DimOp>(access.memref, dim);
      auto add = [&, dim = int64_t(dim)](Value index) {
        checks.push_back({dim, index, size, math.isInside(index, size)});
      };
      add(index);
      // Both ends, so that a vector that wraps around is outside as well.
      if (dim + 1 == access.indices.size() && access.width > 1)
        add(math.add(index, access.width - 1));
    }
    return checks;
  }

  /// Has `op`, a store to a computed place that is inside, happen only if no
  /// other element of the launch goes there.
  void claim(Operation *op, const Access &access) {
    OpBuilder b(op);
    Arith math(b, op->getLoc());
    Value number = emitElementNumber(math, access);
    Value state = claims.emitClaim(math, getPort(access), number);
    math.emitIf(math.equal(state, math.i32(Claims::Unknown)),
                [&] { buffer.emitAdd(math, guardUnclaimedWord); });
    math.emitIf(
        math.equal(state, math.i32(Claims::Taken)),
        [&] {
          int64_t last = access.indices.size() - 1;
          Value size = math.apply<memref::DimOp>(access.memref, last);
          Value place = access.indices.front();
          for (Value index : access.indices.drop_front())
            place = math.add(math.mul(place, size), index);
          int64_t site =
              getSite(math.loc, access) | last << 56 | int64_t(1) << 61;
          emitRecord(math, math.i64(site), place, size);
        },
        [&] { op->moveBefore(b.getInsertionBlock(), b.getInsertionPoint()); });
  }

  /// The element's address, in elements (i64).
  Value emitElementNumber(Arith &math, const Access &access) {
    auto type = cast<MemRefType>(access.memref.getType());
    auto [strides, offset] = type.getStridesAndOffset();
    auto metadata = memref::ExtractStridedMetadataOp::create(math.b, math.loc,
                                                             access.memref);
    Value number = math.i64(0);
    for (auto [dim, index] : llvm::enumerate(access.indices)) {
      Value stride = ShapedType::isDynamic(strides[dim])
                         ? math.toI64(metadata.getStrides()[dim])
                         : math.i64(strides[dim]);
      number = math.add(number, math.mul(math.toI64(index), stride));
    }
    // Arrays are aligned to their elements.
    Value address = math.toI64(
        math.apply<memref::ExtractAlignedPointerAsIndexOp>(access.memref));
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    Value first = math.shiftRight(address, math.i64(llvm::Log2_64(bytes)));
    return math.add(first, number);
  }

  /// Records the first of `checks` that fails; one does.
  void emitFailed(Arith &math, const Access &access, ArrayRef<Check> checks) {
    int64_t site = getSite(math.loc, access);
    auto siteOf = [&](const Check &check) {
      return math.i64(site | check.dim << 56);
    };
    Value first = siteOf(checks.back());
    Value index = checks.back().index, size = checks.back().size;
    for (const Check &check : llvm::reverse(checks.drop_back())) {
      first = math.select(check.isInside, first, siteOf(check));
      index = math.select(check.isInside, index, check.index);
      size = math.select(check.isInside, size, check.size);
    }
    emitRecord(math, first, index, size);
  }

  /// Records the first three words, as docs/Bundle.md has them.
  void emitRecord(Arith &math, Value site, Value index, Value size) {
    // A host kernel has no blocks.
    Value thread = math.i64(-1);
    if (isGPU) {
      Value block = math.toI64(emitBlockNumber(math));
      Value lane = math.toI64(math.apply<gpu::ThreadIdOp>(gpu::Dimension::x));
      thread = math.either(math.shiftLeft(block, math.i64(32)), lane);
    }
    Value number = buffer.emitAdd(math, /*number=*/0);
    Value hasRoom = math.isInside(number, math.i64(guardNumRecords));
    math.emitIf(hasRoom, [&] {
      Value numWords = math.i64(guardRecordWords);
      Value place = math.mul(math.add(number, math.i64(1)), numWords);
      Value words[guardRecordWords] = {site, math.toI64(index),
                                       math.toI64(size), thread};
      for (auto [word, value] : llvm::enumerate(words)) {
        Value at = math.add(place, math.i64(word));
        LLVM::StoreOp::create(math.b, math.loc, value,
                              buffer.emitAddress(math, at));
      }
    });
  }

  /// The first word of a record, but for the dimension.
  int64_t getSite(Location loc, const Access &access) {
    int64_t port = getPort(access).getArgNumber();
    return ops.getNumber(loc) | port << 20 | kernelNumber << 40 |
           int64_t(access.isStore) << 60;
  }

  BlockArgument getPort(const Access &access) {
    return ports[cast<BlockArgument>(access.memref).getArgNumber()];
  }

  SmallVector<BlockArgument> ports;
  GuardedOps ops;
  GuardWords buffer;
  Claims claims;
  int64_t kernelNumber;
  bool isGPU;
};
} // namespace

Guards::Guards(LaunchOp launch, GuardWords buffer, Claims claims, bool isGPU)
    : ports(getKernelPorts(launch)), ops(cast<StepOp>(launch->getParentOp())),
      buffer(buffer), claims(std::move(claims)), isGPU(isGPU) {
  auto launches = cast<StepOp>(launch->getParentOp()).getLaunches();
  kernelNumber = std::distance(launches.begin(), llvm::find(launches, launch));
}

static std::optional<Access> getAccess(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Access>>(op)
      .Case<memref::LoadOp, memref::StoreOp>([](auto access) {
        return Access{access.getMemRef(), access.getIndices(), 1,
                      isa<memref::StoreOp>(access)};
      })
      .Case<vector::LoadOp, vector::StoreOp>([](auto access) {
        return Access{access.getBase(), access.getIndices(),
                      access.getVectorType().getNumElements(),
                      isa<vector::StoreOp>(access)};
      })
      .Default(std::nullopt);
}

LogicalResult nsa::guardAccesses(FunctionOpInterface kernel, LaunchOp launch) {
  SmallVector<std::pair<Operation *, Access>> accesses;
  kernel.walk([&](Operation *op) {
    std::optional<Access> access = getAccess(op);
    // Memory that the kernel makes itself is addressed by thread numbers.
    if (access && isa<BlockArgument>(access->memref) &&
        !cast<MemRefType>(access->memref.getType()).getMemorySpace())
      accesses.emplace_back(op, *access);
  });
  FailureOr<Claims> claims = Claims::create(kernel, launch);
  if (failed(claims))
    return failure();
  FailureOr<GuardWords> buffer =
      GuardWords::create(kernel, launch, guardBufferName,
                         guardRecordWords * (1 + guardNumRecords), "record");
  if (failed(buffer))
    return failure();
  Guards guards(launch, *buffer, std::move(*claims),
                isa<gpu::GPUFuncOp>(kernel));
  for (auto &[op, access] : accesses)
    guards.guard(op, access);
  return success();
}
