"""Published data sets, read as their publishers ship them; none of them is shipped here."""
