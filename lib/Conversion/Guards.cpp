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

#include "nsa/Codegen/GuardedOps.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"
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
  Guards(FunctionOpInterface kernel, LaunchOp launch, Claims claims);
  bool hasBuffer() const { return buffer != nullptr; }
  void guard(Operation *op, const Access &access);

private:
  SmallVector<Check> emitChecks(OpBuilder &b, Location loc,
                                const Access &access);
  /// Has `op`, a store to a computed place that is inside, happen only if no
  /// other element of the launch goes there.
  void claim(Operation *op, const Access &access);
  /// The element's address, in elements (i64).
  Value emitElementNumber(OpBuilder &b, Location loc, const Access &access);
  /// Records the first of `checks` that fails; one does.
  void emitFailed(OpBuilder &b, Location loc, const Access &access,
                  ArrayRef<Check> checks);
  /// Records the first three words, as docs/Bundle.md has them.
  void emitRecord(OpBuilder &b, Location loc, Value site, Value index,
                  Value size);
  /// Adds 1 to word `word` of the buffer; returns what was there.
  Value emitCount(OpBuilder &b, Location loc, int64_t word);
  /// The first word of a record, but for the dimension.
  int64_t getSite(Location loc, const Access &access);
  BlockArgument getPort(const Access &access) {
    return ports[cast<BlockArgument>(access.memref).getArgNumber()];
  }

  SmallVector<BlockArgument> ports;
  GuardedOps ops;
  Claims claims;
  int64_t kernelNumber;
  LLVM::GlobalOp buffer;
  bool isGPU;
};
} // namespace

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

Guards::Guards(FunctionOpInterface kernel, LaunchOp launch, Claims claims)
    : ports(getKernelPorts(launch)), ops(cast<StepOp>(launch->getParentOp())),
      claims(std::move(claims)), isGPU(isa<gpu::GPUFuncOp>(kernel)) {
  auto step = cast<StepOp>(launch->getParentOp());
  auto launches = step.getLaunches();
  kernelNumber = std::distance(launches.begin(), llvm::find(launches, launch));
  buffer = getGuardGlobal(kernel->getParentOp(), step, guardBufferName,
                          guardRecordWords * (1 + guardNumRecords), isGPU);
}

int64_t Guards::getSite(Location loc, const Access &access) {
  int64_t port = getPort(access).getArgNumber();
  return ops.getNumber(loc) | port << 20 | kernelNumber << 40 |
         int64_t(access.isStore) << 60;
}

SmallVector<Check> Guards::emitChecks(OpBuilder &b, Location loc,
                                      const Access &access) {
  SmallVector<Check> checks;
  auto add = [&](int64_t dim, Value index, Value size) {
    // Unsigned, so that a negative index is too large.
    Value isInside =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, index, size);
    checks.push_back({dim, index, size, isInside});
  };
  for (auto [dim, index] : llvm::enumerate(access.indices)) {
    Value size = memref::DimOp::create(b, loc, access.memref, dim);
    add(dim, index, size);
    if (dim + 1 < access.indices.size() || access.width == 1)
      continue;
    // Both ends, so that a vector that wraps around is outside as well.
    Value last = arith::AddIOp::create(
        b, loc, index,
        arith::ConstantIndexOp::create(b, loc, access.width - 1));
    add(dim, last, size);
  }
  return checks;
}

static Value constant(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 64);
}

static Value toI64(OpBuilder &b, Location loc, Value index) {
  if (index.getType().isInteger(64))
    return index;
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
}

void Guards::emitFailed(OpBuilder &b, Location loc, const Access &access,
                        ArrayRef<Check> checks) {
  int64_t site = getSite(loc, access);
  auto siteOf = [&](const Check &check) {
    return constant(b, loc, site | check.dim << 56);
  };
  Value first = siteOf(checks.back());
  Value index = checks.back().index, size = checks.back().size;
  for (const Check &check : llvm::reverse(checks.drop_back())) {
    auto select = [&](Value after, Value here) -> Value {
      return arith::SelectOp::create(b, loc, check.isInside, after, here);
    };
    first = select(first, siteOf(check));
    index = select(index, check.index);
    size = select(size, check.size);
  }
  emitRecord(b, loc, first, index, size);
}

Value Guards::emitCount(OpBuilder &b, Location loc, int64_t word) {
  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), isGPU ? 1 : 0);
  Value base = LLVM::AddressOfOp::create(b, loc, pointer, buffer.getSymName());
  if (word != 0)
    base = LLVM::GEPOp::create(b, loc, pointer, b.getI64Type(), base,
                               ArrayRef<LLVM::GEPArg>{int32_t(word)});
  return LLVM::AtomicRMWOp::create(
      b, loc, LLVM::AtomicBinOp::add, base, constant(b, loc, 1),
      LLVM::AtomicOrdering::monotonic, isGPU ? "device" : "");
}

void Guards::emitRecord(OpBuilder &b, Location loc, Value site, Value index,
                        Value size) {
  // A host kernel has no blocks.
  Value thread = constant(b, loc, -1);
  if (isGPU) {
    Value block =
        toI64(b, loc, gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
    Value lane =
        toI64(b, loc, gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x));
    thread = arith::OrIOp::create(
        b, loc, arith::ShLIOp::create(b, loc, block, constant(b, loc, 32)),
        lane);
  }

  Value number = emitCount(b, loc, 0);
  Value hasRoom =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, number,
                            constant(b, loc, guardNumRecords));
  auto ifOp = scf::IfOp::create(b, loc, hasRoom, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard insertion(b);
  b.setInsertionPoint(ifOp.thenYield());
  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), isGPU ? 1 : 0);
  Value base = LLVM::AddressOfOp::create(b, loc, pointer, buffer.getSymName());
  Value place = arith::MulIOp::create(
      b, loc, arith::AddIOp::create(b, loc, number, constant(b, loc, 1)),
      constant(b, loc, guardRecordWords));
  Value words[guardRecordWords] = {site, toI64(b, loc, index),
                                   toI64(b, loc, size), thread};
  for (auto [word, value] : llvm::enumerate(words)) {
    Value at = arith::AddIOp::create(b, loc, place, constant(b, loc, word));
    Value address = LLVM::GEPOp::create(b, loc, pointer, b.getI64Type(), base,
                                        ArrayRef<LLVM::GEPArg>{at});
    LLVM::StoreOp::create(b, loc, value, address);
  }
}

Value Guards::emitElementNumber(OpBuilder &b, Location loc,
                                const Access &access) {
  auto type = cast<MemRefType>(access.memref.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  (void)type.getStridesAndOffset(strides, offset);
  auto metadata =
      memref::ExtractStridedMetadataOp::create(b, loc, access.memref);
  Value number = constant(b, loc, 0);
  for (auto [dim, index] : llvm::enumerate(access.indices)) {
    Value stride = ShapedType::isDynamic(strides[dim])
                       ? toI64(b, loc, metadata.getStrides()[dim])
                       : constant(b, loc, strides[dim]);
    number = arith::AddIOp::create(
        b, loc, number,
        arith::MulIOp::create(b, loc, toI64(b, loc, index), stride));
  }
  // Arrays are aligned to their elements.
  Value address = toI64(
      b, loc,
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, access.memref));
  int64_t bytes = type.getElementTypeBitWidth() / 8;
  Value first = arith::ShRUIOp::create(b, loc, address,
                                       constant(b, loc, llvm::Log2_64(bytes)));
  return arith::AddIOp::create(b, loc, first, number);
}

void Guards::claim(Operation *op, const Access &access) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  Value state = claims.emitClaim(b, loc, getPort(access),
                                 emitElementNumber(b, loc, access));
  auto is = [&](Claims::State other) -> Value {
    return arith::CmpIOp::create(
        b, loc, arith::CmpIPredicate::eq, state,
        arith::ConstantIntOp::create(b, loc, other, 32));
  };
  auto isUnknown =
      scf::IfOp::create(b, loc, is(Claims::Unknown), /*withElseRegion=*/false);
  auto isTaken =
      scf::IfOp::create(b, loc, is(Claims::Taken), /*withElseRegion=*/true);
  op->moveBefore(isTaken.elseYield());
  b.setInsertionPoint(isUnknown.thenYield());
  emitCount(b, loc, guardUnclaimedWord);

  b.setInsertionPoint(isTaken.thenYield());
  int64_t last = access.indices.size() - 1;
  Value size = memref::DimOp::create(b, loc, access.memref, last);
  Value place = access.indices.front();
  for (Value index : access.indices.drop_front())
    place = arith::AddIOp::create(
        b, loc, arith::MulIOp::create(b, loc, place, size), index);
  int64_t site = getSite(loc, access) | last << 56 | int64_t(1) << 61;
  emitRecord(b, loc, constant(b, loc, site), place, size);
}

void Guards::guard(Operation *op, const Access &access) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  SmallVector<Check> checks = emitChecks(b, loc, access);
  if (checks.empty())
    return;
  Value isInside = checks.front().isInside;
  for (const Check &check : ArrayRef(checks).drop_front())
    isInside = arith::AndIOp::create(b, loc, isInside, check.isInside);
  // So that what is recorded stands out of the way.
  isInside = LLVM::ExpectOp::create(b, loc, isInside,
                                    arith::ConstantIntOp::create(b, loc, 1, 1));
  auto ifOp = scf::IfOp::create(b, loc, op->getResultTypes(), isInside,
                                /*addThenBlock=*/true, /*addElseBlock=*/true);
  op->replaceAllUsesWith(ifOp.getResults());
  op->moveBefore(ifOp.thenBlock(), ifOp.thenBlock()->end());
  b.setInsertionPointToEnd(ifOp.thenBlock());
  scf::YieldOp::create(b, loc, op->getResults());

  b.setInsertionPointToEnd(ifOp.elseBlock());
  emitFailed(b, loc, access, checks);
  SmallVector<Value> zeros;
  for (Type type : op->getResultTypes())
    zeros.push_back(arith::ConstantOp::create(
        b, loc, cast<TypedAttr>(b.getZeroAttr(type))));
  scf::YieldOp::create(b, loc, zeros);
  if (claims.has(getPort(access)))
    claim(op, access);
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
  Guards guards(kernel, launch, std::move(*claims));
  if (!guards.hasBuffer())
    return launch.emitOpError("expected another name than '")
           << guardBufferName << "', which is where guards record";
  for (auto &[op, access] : accesses)
    guards.guard(op, access);
  return success();
}
