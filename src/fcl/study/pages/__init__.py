"""The pages that are written from results: report, reproduction, summary."""
