// Kernels that may begin early are checked as they are emitted: PTX in which one touches global memory, jumps or ends
// before the wait is an error, and so is a load through the read-only path.
//
// RUN: nsa-opt %s --gpu-module-to-binary=format=isa --split-input-file --verify-diagnostics -o /dev/null

gpu.module @waits [#nvvm.target<chip = "sm_90">] {
  llvm.func @waits(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    %x = llvm.load %a : !llvm.ptr -> i32
    %y = llvm.add %x, %n : i32
    llvm.store %y, %a : i32, !llvm.ptr
    llvm.return
  }
  // Nobody says that this one begins early.
  llvm.func @plain(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel} {
    llvm.store %n, %a : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @store [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{kernel 'store': PTX line 22: an access to global memory before griddepcontrol.wait: st.global.b32}}
  llvm.func @store(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.store %n, %a : i32, !llvm.ptr
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @load [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{an access to global memory before griddepcontrol.wait: ld.volatile.global}}
  llvm.func @load(%a: !llvm.ptr, %b: !llvm.ptr) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    %x = llvm.load volatile %b : !llvm.ptr -> i32
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    llvm.store %x, %a : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @no_wait [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{an end before griddepcontrol.wait: ret}}
  llvm.func @no_wait() attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.return
  }
}

// -----

// One of two paths.
// expected-error @below {{serializing}}
gpu.module @branch [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{a jump before griddepcontrol.wait: bra}}
  llvm.func @branch(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    %zero = llvm.mlir.constant(0 : i32) : i32
    %is = llvm.icmp "eq" %n, %zero : i32
    llvm.cond_br %is, ^wait, ^store
  ^wait:
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    llvm.br ^store
  ^store:
    llvm.store %n, %a : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// A table of jumps, of which one leads past the wait.
// expected-error @below {{serializing}}
gpu.module @table [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{a jump before griddepcontrol.wait: brx.idx}}
  llvm.func @table(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "{ t: .branchtargets $$one, $$two; brx.idx $0, t; $$two: griddepcontrol.wait; $$one: }", "r,~{memory}" %n : (i32) -> ()
    llvm.store %n, %a : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// A wait that some threads pass over.
// expected-error @below {{serializing}}
gpu.module @guarded [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{an access to global memory before griddepcontrol.wait: st.global.b32}}
  llvm.func @guarded(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "{ .reg .pred p; setp.eq.s32 p, $0, 0; @p griddepcontrol.wait; }", "r,~{memory}" %n : (i32) -> ()
    llvm.store %n, %a : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @asynchronous [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{an access to global memory before griddepcontrol.wait: cp.async.ca.shared.global}}
  llvm.func @asynchronous(%a: !llvm.ptr, %n: i32) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "cp.async.ca.shared.global [$0], [$1], 4; griddepcontrol.wait;", "r,l,~{memory}" %n, %a : (i32, !llvm.ptr) -> ()
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @read_only [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{a load through the read-only path: ld.global.nc}}
  llvm.func @read_only(%a: !llvm.ptr {llvm.noalias, llvm.readonly}, %b: !llvm.ptr) attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    %x = llvm.load %a : !llvm.ptr -> i32
    llvm.store %x, %b : i32, !llvm.ptr
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @call [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{a call before griddepcontrol.wait: call somewhere}}
  llvm.func @call() attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "/* Not read: st.global. */ call somewhere; griddepcontrol.wait;", "~{memory}" : () -> ()
    llvm.return
  }
}

// -----

// expected-error @below {{serializing}}
gpu.module @trap [#nvvm.target<chip = "sm_90">] {
  // expected-error @below {{an end before griddepcontrol.wait: exit}}
  llvm.func @trap() attributes {gpu.kernel, nvvm.kernel, nsa.dependent_launch} {
    llvm.inline_asm has_side_effects "{ trap; one: }", "~{memory}" : () -> ()
    llvm.unreachable
  }
}
