module greenloom-bench

go 1.19
