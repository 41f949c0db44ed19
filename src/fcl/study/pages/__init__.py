"""Pages generated from results: report, reproduction, summary."""
