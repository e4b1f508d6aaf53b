# Writes files, one after the other, as one C++ string literal for an #include:
#   cmake -DFILES=a.h,b.h -DOUTPUT=out.inc -P NSAEmbedText.cmake
string(REPLACE "," ";" _files "${FILES}")
set(_text)
foreach(_file IN LISTS _files)
  file(READ "${_file}" _content)
  string(APPEND _text "R\"nsa-text(${_content})nsa-text\"\n")
endforeach()
file(WRITE "${OUTPUT}" "${_text}")
