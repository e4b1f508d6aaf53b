// Names that are taken by what they land in, one for each reason.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// StepOp C1: a keyword of C++20, and one of C23
// expected-error @+1 {{expected another name for the step than 'requires', because it is a keyword of C or C++}}
nsa.step @requires(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'typeof', because it is a keyword of C or C++}}
nsa.step @step(in %typeof : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'linux', because C compilers define a macro of that name}}
nsa.step @linux(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'NULL', because headers of C define a macro of that name}}
nsa.step @step(in %NULL : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'UINT8_MAX', because headers that generated ones include define macros of such names}}
nsa.step @step(in %UINT8_MAX : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'NSA_OK', because headers that generated ones include define macros of such names}}
nsa.step @step(in %NSA_OK : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'lambda', because it is a keyword of Python}}
nsa.step @step(in %lambda : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than 'stream', because calls from Python have an argument of that name}}
nsa.step @step(in %stream : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'mad', because it is a reserved word of PTX}}
nsa.step @mad(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'vprintf', because it is a function that every kernel can call}}
nsa.step @vprintf(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'sched', because 'sched.h' is a header of the system}}
nsa.step @sched(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'immintrin', because 'immintrin.h' is a header of the compiler}}
nsa.step @immintrin(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'cuda', because 'cuda.h' is a header of CUDA}}
nsa.step @cuda(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'nsa', because generated headers share names that begin with 'nsa_'}}
nsa.step @nsa(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than 'nsa_check', because generated headers share names that begin with 'nsa_'}}
nsa.step @nsa_check(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for the step than '_', because names that begin so are for compilers}}
nsa.step @_(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1
// expected-error @+1 {{expected another name for a port than '_Bool', because names that begin so are for compilers}}
nsa.step @step(in %_Bool : tensor<?xi32>) {
}

// -----

// What is taken in one place is free in another.
nsa.step @lambda(in %sched : tensor<?xi32>, in %add : tensor<?xi32>,
                 in %nsa_cache_seqlens : tensor<?xi32>,
                 in %_a : tensor<?xi32>, in %arguments : tensor<?xi32>,
                 in %sizes : tensor<?xi32>, in %INTERVAL : tensor<?xi32>) {
  nsa.launch @sched {
  }
}

// -----

// LaunchOp C2: an identifier
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected another name for the launch than 'foo bar', because it is not a C identifier}}
  nsa.launch @"foo bar" {
  }
}

// -----

// LaunchOp C2: no word of PTX
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected another name for the launch than 'ret', because it is a reserved word of PTX}}
  nsa.launch @ret {
  }
}
