include: "workflow/Snakefile"


# A rule of an included file is no target by itself.
workflow.default_target = "all"
