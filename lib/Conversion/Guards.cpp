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
  Guards(FunctionOpInterface kernel, LaunchOp launch);
  bool hasBuffer() const { return buffer != nullptr; }
  void guard(Operation *op, const Access &access);

private:
  SmallVector<Check> emitChecks(OpBuilder &b, Location loc,
                                const Access &access);
  /// Records the first of `checks` that fails; one does.
  void emitRecord(OpBuilder &b, Location loc, const Access &access,
                  ArrayRef<Check> checks);
  /// The first word of a record, but for the dimension.
  int64_t getSite(Location loc, const Access &access);

  SmallVector<BlockArgument> ports;
  GuardedOps ops;
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

/// The global that the kernels of a step record in, in `module`; null if a
/// kernel has its name.
static LLVM::GlobalOp getBuffer(Operation *module, StepOp step, bool isGPU) {
  std::string name = guardBufferName.str();
  if (!isGPU)
    name = (step.getSymName() + "." + name).str();
  if (Operation *found = SymbolTable::lookupSymbolIn(module, name))
    return dyn_cast<LLVM::GlobalOp>(found);
  OpBuilder b = OpBuilder::atBlockBegin(&module->getRegion(0).front());
  int64_t words = guardRecordWords * (1 + guardNumRecords);
  auto zeros = DenseElementsAttr::get(
      RankedTensorType::get(words, b.getI64Type()), b.getI64IntegerAttr(0));
  return LLVM::GlobalOp::create(
      b, step.getLoc(), LLVM::LLVMArrayType::get(b.getI64Type(), words),
      /*isConstant=*/false, LLVM::Linkage::External, name, zeros,
      /*alignment=*/16, /*addrSpace=*/isGPU ? 1 : 0);
}

Guards::Guards(FunctionOpInterface kernel, LaunchOp launch)
    : ports(getKernelPorts(launch)), ops(cast<StepOp>(launch->getParentOp())),
      isGPU(isa<gpu::GPUFuncOp>(kernel)) {
  auto step = cast<StepOp>(launch->getParentOp());
  auto launches = step.getLaunches();
  kernelNumber = std::distance(launches.begin(), llvm::find(launches, launch));
  buffer = getBuffer(kernel->getParentOp(), step, isGPU);
}

int64_t Guards::getSite(Location loc, const Access &access) {
  auto argument = cast<BlockArgument>(access.memref);
  int64_t port = ports[argument.getArgNumber()].getArgNumber();
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

void Guards::emitRecord(OpBuilder &b, Location loc, const Access &access,
                        ArrayRef<Check> checks) {
  Type i64 = b.getI64Type();
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIntOp::create(b, loc, value, 64);
  };
  auto toI64 = [&](Value index) -> Value {
    return arith::IndexCastOp::create(b, loc, i64, index);
  };
  int64_t site = getSite(loc, access);
  auto siteOf = [&](const Check &check) { return site | check.dim << 56; };
  Value first = constant(siteOf(checks.back()));
  Value index = checks.back().index, size = checks.back().size;
  for (const Check &check : llvm::reverse(checks.drop_back())) {
    auto select = [&](Value after, Value here) -> Value {
      return arith::SelectOp::create(b, loc, check.isInside, after, here);
    };
    first = select(first, constant(siteOf(check)));
    index = select(index, check.index);
    size = select(size, check.size);
  }
  // A host kernel has no blocks.
  Value thread = constant(-1);
  if (isGPU) {
    Value block = toI64(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
    thread = arith::OrIOp::create(
        b, loc, arith::ShLIOp::create(b, loc, block, constant(32)),
        toI64(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x)));
  }

  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), isGPU ? 1 : 0);
  Value base = LLVM::AddressOfOp::create(b, loc, pointer, buffer.getSymName());
  Value number = LLVM::AtomicRMWOp::create(
      b, loc, LLVM::AtomicBinOp::add, base, constant(1),
      LLVM::AtomicOrdering::monotonic, isGPU ? "device" : "");
  Value hasRoom = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult,
                                        number, constant(guardNumRecords));
  auto ifOp = scf::IfOp::create(b, loc, hasRoom, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard insertion(b);
  b.setInsertionPoint(ifOp.thenYield());
  Value place = arith::MulIOp::create(
      b, loc, arith::AddIOp::create(b, loc, number, constant(1)),
      constant(guardRecordWords));
  Value words[guardRecordWords] = {first, toI64(index), toI64(size), thread};
  for (auto [word, value] : llvm::enumerate(words)) {
    Value at = arith::AddIOp::create(b, loc, place, constant(word));
    Value address = LLVM::GEPOp::create(b, loc, pointer, i64, base,
                                        ArrayRef<LLVM::GEPArg>{at});
    LLVM::StoreOp::create(b, loc, value, address);
  }
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
  emitRecord(b, loc, access, checks);
  SmallVector<Value> zeros;
  for (Type type : op->getResultTypes())
    zeros.push_back(arith::ConstantOp::create(
        b, loc, cast<TypedAttr>(b.getZeroAttr(type))));
  scf::YieldOp::create(b, loc, zeros);
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
  Guards guards(kernel, launch);
  if (!guards.hasBuffer())
    return launch.emitOpError("expected another name than '")
           << guardBufferName << "', which is where guards record";
  for (auto &[op, access] : accesses)
    guards.guard(op, access);
  return success();
}
