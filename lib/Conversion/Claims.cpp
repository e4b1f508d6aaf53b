//===- Claims.cpp - Two elements that go to one place ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A claim is one 64-bit word, the number of the launch and the address, so that
// one compare-and-swap makes it, and those of earlier launches are free again
// without anybody clearing them. Launches count themselves, since a replayed
// graph has no host that would: each adds 2^32 to a word, a share by each block
// at its end, so the upper half stays the same while a launch runs.
//
// While others run, it does not. Launches that run at the same time have arrays
// of their own, so their claims do not meet; but two that come after one
// another might then have one number. Each adds 1 to another word when it
// begins, which shows that there are others: whoever sees that claims nothing.
//
//===----------------------------------------------------------------------===//

#include "Claims.h"

#include "nsa/Codegen/Arith.h"
#include "nsa/Codegen/GuardedOps.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

/// How many launches have begun, and how many have ended, times 2^32.
static constexpr int64_t begunWord = 0, endedWord = 1, firstTableWord = 2;
static constexpr int64_t endedShift = 32;
/// Entries of an array's table, and how many of them a place may be at.
static constexpr int64_t logEntries = 16, numEntries = int64_t(1) << logEntries,
                         numProbes = 32;
/// A claim has the element's address in so many low bits, and the launch above:
/// its low bits, and a 1 on top, so that 0 is no claim.
static constexpr int64_t elementBits = 48, launchBits = 15;
/// 2^64 over the golden ratio: neighbours get far from one another.
static constexpr int64_t hashFactor = 0x9E3779B97F4A7C15;

//===----------------------------------------------------------------------===//
// The global
//===----------------------------------------------------------------------===//

LLVM::GlobalOp nsa::getGuardGlobal(Operation *module, StepOp step,
                                   StringRef name, int64_t words, bool isGPU) {
  std::string symbol =
      isGPU ? name.str() : (step.getSymName() + "." + name).str();
  if (Operation *found = SymbolTable::lookupSymbolIn(module, symbol))
    return dyn_cast<LLVM::GlobalOp>(found);
  OpBuilder b = OpBuilder::atBlockBegin(&module->getRegion(0).front());
  auto zeros = DenseElementsAttr::get(
      RankedTensorType::get(words, b.getI64Type()), b.getI64IntegerAttr(0));
  return LLVM::GlobalOp::create(
      b, step.getLoc(), LLVM::LLVMArrayType::get(b.getI64Type(), words),
      /*isConstant=*/false, LLVM::Linkage::External, symbol, zeros,
      /*alignment=*/16, /*addrSpace=*/isGPU ? 1 : 0);
}

Claims::Claims(StepOp step, bool isGPU) : isGPU(isGPU) {
  // All of the step's, so that its kernels agree about where tables are.
  step.walk([&](CopyOp copy) {
    if (!copy.getPlaces().empty())
      for (Value destination : copy.getDestinations())
        ports.push_back(cast<BlockArgument>(destination));
  });
}

int64_t Claims::getNumWords() const {
  return firstTableWord + int64_t(ports.size()) * numEntries;
}

FailureOr<Claims> Claims::create(FunctionOpInterface kernel, LaunchOp launch) {
  auto step = cast<StepOp>(launch->getParentOp());
  Claims claims(step, isa<gpu::GPUFuncOp>(kernel));
  bool isNeeded = false;
  launch.walk([&](CopyOp copy) { isNeeded |= !copy.getPlaces().empty(); });
  if (!isNeeded)
    return claims;
  claims.global = getGuardGlobal(kernel->getParentOp(), step, guardClaimsName,
                                 claims.getNumWords(), claims.isGPU);
  if (!claims.global)
    return launch.emitOpError("expected another name than '")
           << guardClaimsName << "', which is where guards keep claims";
  claims.emitBegin(kernel);
  claims.emitEnd(kernel);
  return claims;
}

Value Claims::emitAddress(OpBuilder &b, Location loc, Value number) const {
  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), isGPU ? 1 : 0);
  LLVM::GlobalOp named = global;
  Value base = LLVM::AddressOfOp::create(b, loc, pointer, named.getSymName());
  return LLVM::GEPOp::create(b, loc, pointer, b.getI64Type(), base,
                             ArrayRef<LLVM::GEPArg>{number});
}

static Value constant(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 64);
}

Value Claims::emitLoad(OpBuilder &b, Location loc, Value address) const {
  return LLVM::LoadOp::create(
      b, loc, b.getI64Type(), address, /*alignment=*/8, /*isVolatile=*/false,
      /*isNonTemporal=*/false, /*isInvariant=*/false,
      /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, getScope());
}

Value Claims::emitAdd(OpBuilder &b, Location loc, int64_t number,
                      Value value) const {
  return LLVM::AtomicRMWOp::create(
      b, loc, LLVM::AtomicBinOp::add,
      emitAddress(b, loc, constant(b, loc, number)), value,
      LLVM::AtomicOrdering::monotonic, getScope());
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

void Claims::emitBegin(FunctionOpInterface kernel) const {
  Block &entry = kernel.getFunctionBody().front();
  OpBuilder b = OpBuilder::atBlockBegin(&entry);
  // Not before the launch before this one has ended.
  for (Operation &op : entry)
    if (isa<LLVM::InlineAsmOp>(op))
      b.setInsertionPointAfter(&op);
  Arith math(b, kernel.getLoc());
  Value isFirst;
  if (isGPU) {
    Value block =
        gpu::BlockIdOp::create(b, math.loc, gpu::Dimension::x).getResult();
    Value thread =
        gpu::ThreadIdOp::create(b, math.loc, gpu::Dimension::x).getResult();
    isFirst = math.both(math.equal(block, math.index(0)),
                        math.equal(thread, math.index(0)));
  }
  math.emitIf(isFirst, [&] {
    emitAdd(b, math.loc, begunWord, constant(b, math.loc, 1));
  });
}

void Claims::emitEnd(FunctionOpInterface kernel) const {
  OpBuilder b(kernel.getFunctionBody().front().getTerminator());
  Arith math(b, kernel.getLoc());
  Location loc = math.loc;
  Value share = constant(b, loc, int64_t(1) << endedShift);
  Value isOne;
  if (isGPU) {
    // All of the block has read the word before.
    gpu::BarrierOp::create(b, loc);
    Value thread =
        gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x).getResult();
    isOne = math.equal(thread, math.index(0));
  }
  math.emitIf(isOne, [&] {
    if (isGPU) {
      auto toI64 = [&](Value index) -> Value {
        return arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
      };
      Value block = gpu::BlockIdOp::create(b, loc, gpu::Dimension::x);
      Value blocks =
          toI64(gpu::GridDimOp::create(b, loc, gpu::Dimension::x).getResult());
      Value each = arith::DivUIOp::create(b, loc, share, blocks);
      Value others = math.sub(blocks, constant(b, loc, 1));
      Value rest = math.sub(share, math.mul(others, each));
      share = math.select(math.equal(block, math.index(0)), rest, each);
    }
    Value before = emitAdd(b, loc, endedWord, share);
    // Numbers of launches begin anew after so many: no claim of the last time
    // may be there.
    Value shift = constant(b, loc, endedShift + launchBits);
    Value round = arith::ShRUIOp::create(b, loc, before, shift);
    Value next = arith::ShRUIOp::create(b, loc, math.add(before, share), shift);
    math.emitIf(math.compare(Arith::Predicate::ne, round, next), [&] {
      auto loop = scf::ForOp::create(b, loc, math.index(firstTableWord),
                                     math.index(getNumWords()), math.index(1));
      OpBuilder::InsertionGuard insertion(b);
      b.setInsertionPoint(loop.getBody()->getTerminator());
      Value word = arith::IndexCastOp::create(b, loc, b.getI64Type(),
                                              loop.getInductionVar());
      LLVM::StoreOp::create(b, loc, constant(b, loc, 0),
                            emitAddress(b, loc, word));
    });
  });
}

//===----------------------------------------------------------------------===//
// A claim
//===----------------------------------------------------------------------===//

Value Claims::emitClaim(OpBuilder &b, Location loc, BlockArgument port,
                        Value element) const {
  Arith math(b, loc);
  Type i32 = b.getI32Type();
  auto number = [&](int64_t value) { return constant(b, loc, value); };
  auto shiftRight = [&](Value value, int64_t bits) -> Value {
    return arith::ShRUIOp::create(b, loc, value, number(bits));
  };
  auto load = [&](int64_t word) {
    return emitLoad(b, loc, emitAddress(b, loc, number(word)));
  };
  // Of 32 bits, as there are no more of those that have ended.
  Value ended = arith::TruncIOp::create(
      b, loc, i32, shiftRight(load(endedWord), endedShift));
  Value begun = arith::TruncIOp::create(b, loc, i32, load(begunWord));
  Value isAlone =
      math.compare(Arith::Predicate::sle, math.sub(begun, ended), math.i32(1));
  Value fits = math.compare(Arith::Predicate::ult, element,
                            number(int64_t(1) << elementBits));
  Value launch = arith::OrIOp::create(
      b, loc, math.both(ended, math.i32((1 << launchBits) - 1)),
      math.i32(1 << launchBits));
  launch = arith::ExtUIOp::create(b, loc, b.getI64Type(), launch);
  Value claim = arith::OrIOp::create(
      b, loc, arith::ShLIOp::create(b, loc, launch, number(elementBits)),
      element);
  Value home =
      shiftRight(math.mul(element, number(hashFactor)), 64 - logEntries);
  int64_t table = llvm::find(ports, port) - ports.begin();
  Value first = number(firstTableWord + table * numEntries);

  // From entry to entry, until one of this launch has the place or is free.
  Value probe =
      math.select(math.both(isAlone, fits), math.i32(0), math.i32(numProbes));
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange{i32, i32}, ValueRange{probe, math.i32(Unknown)},
      [&](OpBuilder &b, Location loc, ValueRange carried) {
        Arith math(b, loc);
        Value goesOn = math.both(math.equal(carried[1], math.i32(Unknown)),
                                 math.compare(Arith::Predicate::ult, carried[0],
                                              math.i32(numProbes)));
        scf::ConditionOp::create(b, loc, goesOn, carried);
      },
      [&](OpBuilder &b, Location loc, ValueRange carried) {
        Arith math(b, loc);
        Value at = math.add(
            home, arith::ExtUIOp::create(b, loc, b.getI64Type(), carried[0]));
        at = math.both(at, constant(b, loc, numEntries - 1));
        Value address = emitAddress(b, loc, math.add(first, at));
        auto ifTaken = [&](Value found, Value otherwise) {
          return math.select(math.equal(found, claim), math.i32(Taken),
                             otherwise);
        };
        Value found = emitLoad(b, loc, address);
        Value isOld =
            math.compare(Arith::Predicate::ne,
                         arith::ShRUIOp::create(b, loc, found,
                                                constant(b, loc, elementBits)),
                         launch);
        Value state = math.emitIf(
            i32, isOld,
            [&]() -> Value {
              auto swap = LLVM::AtomicCmpXchgOp::create(
                  b, loc, address, found, claim,
                  LLVM::AtomicOrdering::monotonic,
                  LLVM::AtomicOrdering::monotonic, getScope());
              Value now =
                  LLVM::ExtractValueOp::create(b, loc, swap.getRes(), 0);
              return math.select(math.equal(now, found), math.i32(First),
                                 ifTaken(now, math.i32(Unknown)));
            },
            [&] { return ifTaken(found, math.i32(Unknown)); });
        Value next = math.add(carried[0], math.i32(1));
        scf::YieldOp::create(b, loc, ValueRange{next, state});
      });
  return loop.getResult(1);
}
