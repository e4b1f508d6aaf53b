// RUN: nsa-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{expected 'data_bytes' or the name of a layout, one of v32, v4, v41, indexer, but got 'v33'}}
#c0 = #nsa.kv_layout<v33>

// -----

// expected-error @below {{expected a type, one of e4m3, bf16, f32 and ue8m0, but got 'f16'}}
#c0 = #nsa.kv_layout<data_bytes = 8, fields = [f16[4] at 0], scales = f32[1] at 0 per 4 footer 4>

// -----

// expected-error @below {{expected 'footer' or 'inline'}}
#c0 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 4 header>

// -----

// (C1)
// expected-error @below {{expected 1 to 32 fields, but got 0}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C1)
// expected-error @below {{expected fields of type e4m3 or bf16 but got f32}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [f32[2] at 0], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C1)
// expected-error @below {{expected scales of type f32 or ue8m0 but got bf16}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = bf16[1] at 0 per 4 footer 4>

// -----

// (C1)
// expected-error @below {{expected counts from 1 and offsets from 0 to 2^31-1}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[0] at 0], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C1)
// expected-error @below {{expected counts from 1 and offsets from 0 to 2^31-1}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at -1], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C1)
// expected-error @below {{expected counts from 1 and offsets from 0 to 2^31-1}}
#c1 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[0] at 0 per 4 footer 4>

// -----

// (C2)
// expected-error @below {{expected fields inside of the 8 bytes of data, but one ends at byte 9}}
#c2 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0, bf16[2] at 5], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C2)
// expected-error @below {{expected scales inside of the 8 bytes of data, but they end at byte 9}}
#c2 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 5 per 4 inline>

// -----

// (C2)
// expected-error @below {{expected scales inside of the 4 bytes of a footer entry, but they end at byte 5}}
#c2 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 1 per 4 footer 4>

// -----

// (C3)
// expected-error @below {{expected fields and scales that do not overlap, but byte 3 belongs to two of them}}
#c3 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0, bf16[2] at 3], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C3)
// expected-error @below {{expected fields and scales that do not overlap, but byte 2 belongs to two of them}}
#c3 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 2], scales = f32[1] at 0 per 4 inline>

// -----

// (C4)
// expected-error @below {{expected the group of 3 to divide the count of e4m3 fields, but got 4}}
#c4 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 3 footer 4>

// -----

// (C4)
// expected-error @below {{expected a scale for each of the 2 groups but got 1}}
#c4 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 2 footer 4>

// -----

// (C5)
// expected-error @below {{expected bytes, group and page multiple from 1 to 2^31-1}}
#c5 = #nsa.kv_layout<data_bytes = 0, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 4 footer 4>

// -----

// (C5)
// expected-error @below {{expected bytes, group and page multiple from 1 to 2^31-1}}
#c5 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 0 footer 4>

// -----

// (C5)
// expected-error @below {{expected bytes, group and page multiple from 1 to 2^31-1}}
#c5 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 4 footer 4, page_multiple = 0>

// -----

// (C5)
// expected-error @below {{expected 1 or more bytes of footer but got 0}}
#c5 = #nsa.kv_layout<data_bytes = 8, fields = [e4m3[4] at 0], scales = f32[1] at 0 per 4 footer 0>
