"""Imported before anything else, in every process: what merely happens to be installed is not run.

pydantic loads the entry points of its own group when the first model is made, and the standard library asks
for modules that exist on other systems only. Any distribution in this environment could answer, with this
process's rights. Here both are told that there is nothing, whatever is installed and whatever the environment
says.
"""

import os
import sys

ABSENT = ("_overlapped", "_scproxy", "_winapi", "_wmi", "java", "msvcrt", "nt", "org", "vms_lib", "winreg")

os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
for _name in ABSENT:
    if _name not in sys.builtin_module_names:  # on the system that has it, it is built in
        sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # None: the import system's "there is none"
