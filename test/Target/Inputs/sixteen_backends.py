"""Prints a step that copies every field of a set to sixteen backends."""

FIELDS = "target_verify, [real_page_table, flashmla_num_splits, flashmla_metadata]"
ports = ",\n  ".join(f"out %b{n} : !nsa.metadata_ref<{FIELDS}>" for n in range(16))
names = ", ".join(f"%b{n}" for n in range(16))
types = ", ".join([f"!nsa.metadata_ref<{FIELDS}>"] * 16)
print(
    f"""nsa.step @copy(in %bs : index, in %columns : index, in %rows : index,
  in %src[%bs, %columns, %rows] : !nsa.metadata<{FIELDS}>,
  {ports}) {{
  nsa.copy_metadata %src to {names} : !nsa.metadata<{FIELDS}> to {types}
}}"""
)
