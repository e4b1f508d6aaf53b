# Writes the text of the file IN to the file OUT, as a literal of C++.
file(READ "${IN}" text)
file(WRITE "${OUT}" "R\"nsa(${text})nsa\"\n")
