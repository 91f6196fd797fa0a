"""The production coordinator and agent under a virtual clock: fleets measured, faults proved."""
