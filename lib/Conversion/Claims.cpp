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

#include "Kernel.h"

#include "nsa/Codegen/GuardedOps.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace nsa;

/// How many launches have begun, and how many have ended, times 2^32.
static constexpr int32_t begunWord = 0, endedWord = 1, firstTableWord = 2;
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

FailureOr<GuardWords> GuardWords::create(FunctionOpInterface kernel,
                                         LaunchOp launch, StringRef name,
                                         int64_t words, StringRef use) {
  auto step = cast<StepOp>(launch->getParentOp());
  GuardWords result;
  result.isGPU = isa<gpu::GPUFuncOp>(kernel);
  Operation *module = kernel->getParentOp();
  std::string symbol =
      result.isGPU ? name.str() : (step.getSymName() + "." + name).str();
  if (Operation *found = SymbolTable::lookupSymbolIn(module, symbol)) {
    auto global = dyn_cast<LLVM::GlobalOp>(found);
    if (!global)
      return launch.emitOpError("expected another name than '")
             << name << "', which is where guards " << use;
    result.symbol = global.getSymName();
    return result;
  }
  OpBuilder b = OpBuilder::atBlockBegin(&module->getRegion(0).front());
  auto zeros = DenseElementsAttr::get(
      RankedTensorType::get(words, b.getI64Type()), b.getI64IntegerAttr(0));
  auto global = LLVM::GlobalOp::create(
      b, step.getLoc(), LLVM::LLVMArrayType::get(b.getI64Type(), words),
      /*isConstant=*/false, LLVM::Linkage::External, symbol, zeros,
      /*alignment=*/16, /*addrSpace=*/result.isGPU ? 1 : 0);
  result.symbol = global.getSymName();
  return result;
}

Value GuardWords::emitAddress(Arith &math, LLVM::GEPArg number) const {
  auto pointer = LLVM::LLVMPointerType::get(math.b.getContext(), isGPU ? 1 : 0);
  Value base = math.apply<LLVM::AddressOfOp>(pointer, symbol);
  return math.apply<LLVM::GEPOp>(pointer, math.b.getI64Type(), base,
                                 ArrayRef<LLVM::GEPArg>{number});
}

Value GuardWords::emitLoad(Arith &math, Value address) const {
  return math.apply<LLVM::LoadOp>(
      math.b.getI64Type(), address, /*alignment=*/8, /*isVolatile=*/false,
      /*isNonTemporal=*/false, /*isInvariant=*/false,
      /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, getScope());
}

Value GuardWords::emitAdd(Arith &math, int32_t number, Value value) const {
  Value address = emitAddress(math, number);
  return math.apply<LLVM::AtomicRMWOp>(
      LLVM::AtomicBinOp::add, address, value ? value : math.i64(1),
      LLVM::AtomicOrdering::monotonic, getScope());
}

Value GuardWords::emitSwap(Arith &math, Value address, Value found,
                           Value value) const {
  Value pair = math.apply<LLVM::AtomicCmpXchgOp>(
      address, found, value, LLVM::AtomicOrdering::monotonic,
      LLVM::AtomicOrdering::monotonic, getScope());
  return math.apply<LLVM::ExtractValueOp>(pair, 0);
}

int64_t Claims::getNumWords() const {
  return firstTableWord + int64_t(ports.size()) * numEntries;
}

FailureOr<Claims> Claims::create(FunctionOpInterface kernel, LaunchOp launch) {
  Claims claims;
  // All of the step's, so that its kernels agree about where tables are.
  launch->getParentOp()->walk([&](CopyOp copy) {
    if (!copy.getPlaces().empty())
      for (Value destination : copy.getDestinations())
        claims.ports.push_back(cast<BlockArgument>(destination));
  });
  bool isNeeded = false;
  launch.walk([&](CopyOp copy) { isNeeded |= !copy.getPlaces().empty(); });
  if (!isNeeded)
    return claims;
  FailureOr<GuardWords> words = GuardWords::create(
      kernel, launch, guardClaimsName, claims.getNumWords(), "keep claims");
  if (failed(words))
    return failure();
  claims.words = *words;
  claims.emitBegin(kernel);
  claims.emitEnd(kernel);
  return claims;
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
  if (isa<gpu::GPUFuncOp>(kernel)) {
    Value block = emitBlockNumber(math);
    Value thread = math.apply<gpu::ThreadIdOp>(gpu::Dimension::x);
    Value isFirstThread = math.equal(thread, math.index(0));
    isFirst = math.both(math.equal(block, math.index(0)), isFirstThread);
  }
  math.emitIf(isFirst, [&] { words.emitAdd(math, begunWord, math.i64(1)); });
}

void Claims::emitEnd(FunctionOpInterface kernel) const {
  OpBuilder b(kernel.getFunctionBody().front().getTerminator());
  Arith math(b, kernel.getLoc());
  bool isGPU = isa<gpu::GPUFuncOp>(kernel);
  Value share = math.i64(int64_t(1) << endedShift);
  Value isOne;
  if (isGPU) {
    // All of the block has read the word before.
    gpu::BarrierOp::create(b, math.loc);
    Value thread = math.apply<gpu::ThreadIdOp>(gpu::Dimension::x);
    isOne = math.equal(thread, math.index(0));
  }
  math.emitIf(isOne, [&] {
    if (isGPU) {
      Value block = emitBlockNumber(math);
      Value blocks = math.toI64(math.apply<gpu::GridDimOp>(gpu::Dimension::x));
      Value each = math.divUnsigned(share, blocks);
      Value others = math.sub(blocks, math.i64(1));
      Value rest = math.sub(share, math.mul(others, each));
      share = math.select(math.equal(block, math.index(0)), rest, each);
    }
    Value before = words.emitAdd(math, endedWord, share);
    // Numbers of launches begin anew after so many: no claim of the last time
    // may be there.
    Value shift = math.i64(endedShift + launchBits);
    Value round = math.shiftRight(before, shift);
    Value next = math.shiftRight(math.add(before, share), shift);
    math.emitIf(math.notEqual(round, next), [&] {
      Value one = math.index(1), end = math.index(getNumWords());
      math.emitFor(math.index(firstTableWord), end, one, [&](Value word) {
        Value address = words.emitAddress(math, math.toI64(word));
        LLVM::StoreOp::create(b, math.loc, math.i64(0), address);
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// A claim
//===----------------------------------------------------------------------===//

Value Claims::emitClaim(Arith &math, BlockArgument port, Value element) const {
  Type i32 = math.b.getI32Type(), i64 = math.b.getI64Type();
  auto load = [&](int32_t word) {
    return words.emitLoad(math, words.emitAddress(math, word));
  };
  // Of 32 bits, as there are no more of those that have ended.
  Value ended = load(endedWord);
  ended = math.apply<arith::TruncIOp>(
      i32, math.shiftRight(ended, math.i64(endedShift)));
  Value begun = math.apply<arith::TruncIOp>(i32, load(begunWord));
  Value one = math.i32(1);
  Value isAlone = math.isAtMost(math.sub(begun, ended), one);
  Value fits = math.isInside(element, math.i64(int64_t(1) << elementBits));
  Value isClaim = math.i32(1 << launchBits);
  Value low = math.both(ended, math.i32((1 << launchBits) - 1));
  Value launch = math.apply<arith::ExtUIOp>(i64, math.either(low, isClaim));
  Value claim =
      math.either(math.shiftLeft(launch, math.i64(elementBits)), element);
  Value hash = math.mul(element, math.i64(hashFactor));
  Value home = math.shiftRight(hash, math.i64(64 - logEntries));
  int64_t table = llvm::find(ports, port) - ports.begin();
  Value first = math.i64(firstTableWord + table * numEntries);

  // From entry to entry, until one of this launch has the place or is free.
  Value none = math.i32(numProbes), begin = math.i32(0);
  Value probe = math.select(math.both(isAlone, fits), begin, none);
  auto ifTaken = [&](Value found) {
    Value unknown = math.i32(Unknown), taken = math.i32(Taken);
    return math.select(math.equal(found, claim), taken, unknown);
  };
  return math.emitWhile(
      {probe, math.i32(Unknown)},
      [&](ValueRange carried) {
        Value isLeft = math.isInside(carried[0], math.i32(numProbes));
        return math.both(math.equal(carried[1], math.i32(Unknown)), isLeft);
      },
      [&](ValueRange carried) -> SmallVector<Value> {
        Value number = math.apply<arith::ExtUIOp>(i64, carried[0]);
        Value at = math.both(math.add(home, number), math.i64(numEntries - 1));
        Value address = words.emitAddress(math, math.add(first, at));
        Value found = words.emitLoad(math, address);
        Value ofLaunch = math.shiftRight(found, math.i64(elementBits));
        Value state = math.emitIf(
            i32, math.notEqual(ofLaunch, launch),
            [&] {
              Value now = words.emitSwap(math, address, found, claim);
              Value other = ifTaken(now), mine = math.i32(First);
              return math.select(math.equal(now, found), mine, other);
            },
            [&] { return ifTaken(found); });
        return {math.add(carried[0], math.i32(1)), state};
      })[1];
}
