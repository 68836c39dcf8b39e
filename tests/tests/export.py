"""Reads a data set of traces with three engines, and prints what each finds, as JSON.

Arguments: the folder, the DuckDB query of README.
"""

import json
import sys

folder, query = sys.argv[1:]
found = {}

import duckdb

sums = """
SELECT host,
       count(*) FILTER (event = 'connection') AS connections,
       coalesce(sum(segs) FILTER (event = 'retransmit'), 0)::BIGINT AS segs,
       coalesce(sum(count) FILTER (event = 'fd_exhausted'), 0)::BIGINT AS no_descriptor
FROM {table} GROUP BY host ORDER BY host
"""
files = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
found["duckdb"] = duckdb.sql(sums.format(table=files)).fetchall()
found["readme"] = [[str(value) for value in row] for row in duckdb.sql(query).fetchall()]

import pandas

frame = pandas.read_parquet(folder)


def pandas_sums(rows):
    return [
        int((rows.event == "connection").sum()),
        int(rows.segs[rows.event == "retransmit"].sum()),
        int(rows["count"][rows.event == "fd_exhausted"].sum()),
    ]


found["pandas"] = [[str(host), *pandas_sums(rows)] for host, rows in frame.groupby("host", observed=True)]
days = (frame.ts.min(), frame.ts.max(), frame.date.unique())
assert {str(day.date()) for day in days[:2]} == {str(date) for date in days[2]}, days

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
spark.read.parquet(folder).createOrReplaceTempView("trace")
sums = """
SELECT host,
       count_if(event = 'connection'),
       coalesce(sum(CASE WHEN event = 'retransmit' THEN segs END), 0),
       coalesce(sum(CASE WHEN event = 'fd_exhausted' THEN count END), 0)
FROM trace GROUP BY host ORDER BY host
"""
found["spark"] = [list(row) for row in spark.sql(sums).collect()]
spark.stop()
print(json.dumps(found))
