//===- Guards.cpp - Checks of every access of a kernel --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Guards.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace {
struct Access {
  Value memref;
  OperandRange indices;
  /// Elements in the innermost dimension.
  int64_t width;
};
} // namespace

static std::optional<Access> getAccess(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Access>>(op)
      .Case<memref::LoadOp, memref::StoreOp>([](auto access) {
        return Access{access.getMemRef(), access.getIndices(), 1};
      })
      .Case<vector::LoadOp, vector::StoreOp>([](auto access) {
        return Access{access.getBase(), access.getIndices(),
                      access.getVectorType().getNumElements()};
      })
      .Default(std::nullopt);
}

static void guard(Operation *op, const Access &access) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  auto add = [&](Value value, int64_t constant) -> Value {
    if (constant == 0)
      return value;
    return arith::AddIOp::create(
        b, loc, value, arith::ConstantIndexOp::create(b, loc, constant));
  };
  for (auto [dim, index] : llvm::enumerate(access.indices)) {
    bool isInner = dim + 1 == access.indices.size();
    Value size = memref::DimOp::create(b, loc, access.memref, dim);
    // Unsigned, so that a negative index is too large; both ends, so that a
    // vector that wraps around is outside as well.
    for (int64_t offset : {int64_t(0), isInner ? access.width - 1 : 0}) {
      Value isInside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult,
                                             add(index, offset), size);
      cf::AssertOp::create(b, loc, isInside,
                           "nsa: an access is outside of its array");
      if (!isInner || access.width == 1)
        break;
    }
  }
}

void nsa::guardAccesses(FunctionOpInterface kernel) {
  kernel.walk([&](Operation *op) {
    std::optional<Access> access = getAccess(op);
    // Memory that the kernel makes itself is addressed by thread numbers.
    if (access && isa<BlockArgument>(access->memref) &&
        !cast<MemRefType>(access->memref.getType()).getMemorySpace())
      guard(op, *access);
  });
}
