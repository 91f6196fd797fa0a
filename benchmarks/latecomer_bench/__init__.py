"""What ``latecomer bench`` runs: each module measures one thing and states against what."""
