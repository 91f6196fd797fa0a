"""The production coordinator and agent under a virtual clock: to measure fleets and prove faults."""
