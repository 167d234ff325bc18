"""One file per dataset; see `attncli.data` for what such a file contains."""
