// How the tools of bin/ are run: their options, values that stay values in the shell, and the code they depend on.

include { schemaProperties } from './parameters.nf'

/** A value or a path as one word of the shell, whatever it holds. */
def quoted(value) {
    "'" + value.toString().replace("'", "'\\''") + "'"
}

/** `option 'value'` once for each value or path; nothing for none. */
def repeated(String option, values) {
    [values].flatten().findAll { value -> value != null }.collect { value -> "${option} ${quoted(value)}" }.join(' ')
}

/**
 * `NAME=PATH` for each pair. Here and not in a process, where Nextflow puts backslashes into paths that a string is
 * made of, which quotes would keep.
 */
def namedPaths(names, paths) {
    [names, [paths].flatten()].transpose().collect { name, path -> "${name}=${path}".toString() }
}

/** A glob that any of some names fits; braces around a single name fit nothing. */
def anyOf(names) {
    names.size() == 1 ? names[0] : "{${names.join(',')}}"
}

/** The command that writes rows of cells as lines of a tab-separated file. */
def tableCommand(String file, List rows) {
    "printf '%s\\n' ${rows.collect { row -> quoted(row.join('\t')) }.join(' ')} > ${quoted(file)}"
}

/** One command, or several of tools in one process: Python and its packages start once. */
def together(List commands) {
    commands.size() == 1 ? commands[0].trim() : "run_tools.py ${commands*.trim().join(' \\\n    --then ')}"
}

/**
 * Rows of [library, files of a kind, files of another…] in tasks of `size`: [libraries, how many files of each kind
 * each has, all files of a kind…]. By name, so that -resume finds the tasks.
 */
def inTasks(rows, int size) {
    def tasks = size == 1
        ? rows.map { row -> [row] }
        : rows.toSortedList { left, right -> left[0].library <=> right[0].library }.flatMap { all -> all.collate(size) }
    tasks.map { task ->
        def kinds = task.collect { row -> row.tail().collect { files -> [files].flatten() } }.transpose()
        [task*.first(), kinds*.collect { files -> files.size() }] + kinds*.flatten()
    }
}

/** The files of each library among those of one kind in a task. */
def ofEach(List counts, files) {
    counts.indexed().collect { i, n -> [files].flatten().drop(counts.take(i).sum(0)).take(n) }
}

/** What a task with several libraries is called. */
def tagOf(List libraries) {
    libraries.size() == 1 ? libraries[0].library : "${libraries[0].library} and ${libraries.size() - 1} more"
}

/**
 * What each tool is run with: `args`, its options from the parameters that the schema hands to it, and
 * `code`, a fingerprint of its library code, so that -resume re-runs exactly the tasks whose code was edited.
 */
def toolSettings(Map schema, Map given, String binDir) {
    def properties = schemaProperties(schema)
    def layers = readLayers(binDir)
    layers.tools.collectEntries { tool, _packages ->
        def options = properties.findAll { name, property ->
            property.tools?.containsKey(tool) && given[name] != null && given[name] != ''
        }
        def args = options.collect { name, property -> optionText(property.tools[tool], given[name]) }
        [tool, [args: args.findAll().join(' '), code: codeFingerprint(binDir, layers, tool)]]
    }
}

/** `--option 'value'`; a boolean gives the option alone, or its --no- form when written as `--a/--no-a`. */
def optionText(String option, value) {
    def (yes, no) = option.tokenize('/') + [null]
    value instanceof Boolean ? (value ? yes : no) : repeated(yes, value)
}

/** A tool's settings with one more option, which follows from the plan of the run. */
def withOption(Map tool, String option, value) {
    tool + [args: [tool.args, optionText(option, value)].findAll().join(' ')]
}

/** Which packages may import which, and which each tool depends on (tests/python/test_layers.py holds it true). */
def readLayers(String binDir) {
    new groovy.json.JsonSlurperClassic().parseText(file("${binDir}/allelegro/layers.json").text)
}

/** Digest of the code that a tool depends on. */
def codeFingerprint(String binDir, Map layers, String tool) {
    codeFiles(binDir, layers, tool).collect { name -> "${name}\n${file("${binDir}/${name}").text}" }.join('\n').md5()
}

/** Files of a tool's command line and of its packages with all that these may import, relative to bin/, sorted. */
def codeFiles(String binDir, Map layers, String tool) {
    def named = ["cli.${tool}".toString(), 'cli.common'] + withImports(layers.packages, layers.tools[tool])
    named.collectMany { name -> filesOf(binDir, name) }.unique().sort()
}

/** The packages and all those that they may import; single modules (package.module) stand for themselves. */
def withImports(Map packages, List names) {
    def imported = names.collectMany { name -> packages[name] ?: [] }
    imported.every { name -> name in names } ? names : withImports(packages, (names + imported).unique())
}

/** Files of a package with its templates and styles, of one module, or of the `ground`: modules outside packages. */
def filesOf(String binDir, String name) {
    def folder = name == 'ground' ? '*.py' : "${name}/**"
    def pattern = name.contains('.') ? "${name.replace('.', '/')}.py" : folder
    [file("${binDir}/allelegro/${pattern}")].flatten()*.toString().findAll { path -> !path.contains('__pycache__') }
        .collect { path -> path - "${file(binDir)}/" }
}
