"""Parquet files, whose footer and pages are checked before Arrow decodes them: a damaged one may end the process.

`footer` and `pages` read what `thrift` encodes, `rows` yields what Arrow decodes, and `reader` the texts in it.
"""

from revlm.corpus.reading.readers.parquet.footer import ParquetError
from revlm.corpus.reading.readers.parquet.reader import read_parquet
from revlm.corpus.reading.readers.parquet.rows import ParquetFile, Row, columns_to_read, names_in, values_of

__all__ = ["ParquetError", "ParquetFile", "Row", "columns_to_read", "names_in", "read_parquet", "values_of"]
