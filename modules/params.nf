// Help, validation and tool arguments, all read from nextflow_schema.json: the single source of every parameter.

/** The schema as a map. */
def readSchema(String path) {
    new groovy.json.JsonSlurperClassic().parse(new File(path))
}

/** Every parameter of the schema, by name, with the title of its group. */
def schemaProperties(Map schema) {
    schema.get('$defs').values().collectMany { group ->
        group.properties.collect { name, property -> [name, property + [group: group.title]] }
    }.collectEntries()
}

/** `--help` in groups; `--help NAME` everything about one parameter. */
def helpText(Map schema, help) {
    def properties = schemaProperties(schema)
    if (properties.containsKey(help)) {
        def property = properties[help]
        def lines = ["--${help}  [${typeText(property)}]${defaultText(property)}", '', property.description]
        if (property.help_text) {
            lines += ['', property.help_text]
        }
        if (property.tools) {
            lines += ['', 'Handed to: ' + property.tools.collect { tool, option -> "${tool}.py ${option}" }.join(', ')]
        }
        return lines.join('\n')
    }
    def unknown = help instanceof String && help != 'true' ? ["There is no parameter '${help}'.${suggestion(help, properties.keySet())}", ''] : []
    def width = properties.keySet()*.length().max() + 4
    def groups = schema.get('$defs').values().collect { group ->
        def shown = group.properties.findAll { _name, property -> !property.hidden }
        def rows = shown.collect { name, property ->
            "  --${name.padRight(width - 2)}${property.description}${defaultText(property)}"
        }
        ([group.title] + rows).join('\n')
    }
    def usage = ['Allelegro: learn from people\'s own genomes how variants change regulatory DNA', '',
        'Usage: nextflow run main.nf --libraries libraries.tsv --variants phased.vcf.gz --genome genome.fa [options]',
        '       nextflow run main.nf -profile test', '']
    (unknown + usage + [groups.join('\n\n'), '', 'nextflow run main.nf --help NAME explains one parameter; docs/parameters.md lists all.']).join('\n')
}

def typeText(Map property) {
    property.enum ? property.enum.join('|') : property.type
}

def defaultText(Map property) {
    property.containsKey('default') && property.default != null && property.default != false ? " [default: ${property.default}]" : ''
}

/** Number of single-letter edits between two words (Levenshtein). */
def editDistance(String left, String right) {
    def first = (0..right.length()).toList()
    left.toList().withIndex().inject(first) { previous, entry ->
        def (letter, row) = entry
        right.toList().withIndex().inject([row + 1]) { current, other ->
            def (otherLetter, column) = other
            current + [[current[column] + 1, previous[column + 1] + 1, previous[column] + (letter == otherLetter ? 0 : 1)].min()]
        }
    }.last()
}

/** " Did you mean --x?" for the nearest known name, or nothing when none is near. */
def suggestion(String name, Collection known) {
    def plain = name.replaceAll(/([a-z])([A-Z])/, '$1_$2').replace('-', '_').toLowerCase()
    def nearest = known.min { candidate -> editDistance(plain, candidate) }
    editDistance(plain, nearest) <= Math.max(2, plain.length().intdiv(3)) ? " Did you mean --${nearest}?" : ''
}

/** What is wrong with one value, or null. The command line gives `1e-3` as text, so numbers are also accepted as text. */
def valueProblem(String name, value, Map property) {
    def text = value.toString()
    if (property.type == 'boolean' && !(value instanceof Boolean)) {
        return "--${name}: '${text}' is not true or false"
    }
    if (property.type == 'integer' && !(text ==~ /[+-]?\d+/)) {
        return "--${name}: '${text}' is not a whole number"
    }
    if (property.type == 'number' && !text.isNumber()) {
        return "--${name}: '${text}' is not a number"
    }
    if (property.type in ['integer', 'number'] && property.minimum != null && (text as BigDecimal) < property.minimum) {
        return "--${name}: ${text} is below ${property.minimum}"
    }
    if (property.type in ['integer', 'number'] && property.maximum != null && (text as BigDecimal) > property.maximum) {
        return "--${name}: ${text} is above ${property.maximum}"
    }
    if (property.type == 'string' && value instanceof Boolean) {
        return "--${name}: a value is missing after it"
    }
    if (property.enum && !(text in property.enum*.toString())) {
        return "--${name}: '${text}' is not one of ${property.enum.join(', ')}"
    }
    if (property.list_of) {
        def wrong = text.tokenize(',')*.trim().findAll { item -> !(item in property.list_of) }
        return wrong ? "--${name}: '${wrong.join(', ')}' is not among ${property.list_of.join(', ')}" : null
    }
    if (property.pattern && !(text ==~ property.pattern)) {
        return "--${name}: '${text}' does not look like ${property.pattern}"
    }
    if (property.exists && ![file(text)].flatten().any { path -> path.exists() }) {
        return "--${name}: ${text}: no such file or folder"
    }
    return null
}

/** All problems at once: unknown names with the nearest known one, types, choices, missing files, missing parameters. */
def parameterProblems(Map schema, Map given) {
    def properties = schemaProperties(schema)
    // Nextflow stores --max-cpus as both max-cpus and maxCpus: name it once, as it was typed.
    def camel = given.keySet().findAll { name -> name.contains('-') }.collect { name ->
        name.replaceAll(/-([a-zA-Z])/) { groups -> groups[1].toUpperCase() }
    }
    def unknown = given.keySet().findAll { name -> !properties.containsKey(name) && !(name in camel) }
    def wrong = given.findAll { name, value -> properties.containsKey(name) && value != null }
        .collect { name, value -> valueProblem(name, value, properties[name]) }
        .findAll()
    unknown.collect { name -> "--${name} is not a parameter.${suggestion(name, properties.keySet())}" } + wrong + missingParameters(properties, given) + arrayProblems(given)
}

/** Nextflow's array jobs do not quote the paths of their tasks. */
def arrayProblems(Map given) {
    given.job_array && workflow.workDir.toString() =~ /\s/ ? ["--job_array needs a work directory without spaces, not '${workflow.workDir}': give -work-dir"] : []
}

/** What a run of these parameters cannot do without: it simulates, trains on a cohort, or scores with trained models. */
def missingParameters(Map properties, Map given) {
    if (given.simulate) {
        return []
    }
    def cohort = given.libraries || given.counts || given.variants || given.haplotypes
    def needed = [
        libraries: !given.counts && (cohort || !given.trained), genome: given.variant_sets || given.score || !given.counts || !given.haplotypes,
        variants: !given.haplotypes && (cohort || !given.trained), variant_sets: given.trained && !cohort && !given.score,
    ]
    def missing = needed.findAll { name, need -> need && !given[name] }.collect { name, _need -> "--${name} is missing: ${properties[name].description}" }
    def fromPretrained = given.models.toString().tokenize(',')*.trim().findAll { name -> modelCatalogue()[name]?.pretrained }
    def unstarted = cohort && fromPretrained && !given.mpra && !given.checkpoint
    missing + (unstarted ? ["--mpra or --checkpoint is missing: ${fromPretrained.join(', ')} start from a pretrained LegNet; or choose --models scratch,clipnet"] : [])
}

/** Stop with every problem listed, or return. */
def checkParameters(Map schema, Map given) {
    def problems = parameterProblems(schema, given)
    if (problems) {
        error("${problems.size()} problem${problems.size() == 1 ? '' : 's'} with the parameters (nextflow run main.nf --help lists them):\n  " + problems.join('\n  '))
    }
}

/**
 * What each tool of bin/ is run with: `args`, its options from the parameters that the schema hands to it, and
 * `code`, a fingerprint of its library code, so that -resume re-runs exactly the tasks whose code was edited.
 */
def toolSettings(Map schema, Map given, String binDir) {
    def properties = schemaProperties(schema)
    def tools = new File(binDir).list().findAll { name -> name.endsWith('.py') }.sort()*.replace('.py', '')
    tools.collectEntries { tool ->
        def options = properties.findAll { name, property -> property.tools?.containsKey(tool) && given[name] != null && given[name] != '' }
        def args = options.collect { name, property -> optionText(property.tools[tool], given[name]) }.findAll().join(' ')
        [tool, [args: args, code: codeFingerprint(binDir, tool)]]
    }
}

/** `--option 'value'`; a boolean gives the option alone, or its --no- form when written as `--a/--no-a`. */
def optionText(String option, value) {
    def (yes, no) = option.tokenize('/') + [null]
    if (value instanceof Boolean) {
        return value ? yes : no
    }
    "${yes} '${value.toString().replace("'", "'\\''")}'"
}

/** Digest of the library modules that a tool imports, directly or through others, and of the files beside them. */
def codeFingerprint(String binDir, String tool) {
    def sources = importedFiles(binDir, ["allelegro.cli.${tool}".toString()], [] as Set).sort()
    def text = sources.collect { path -> "${path - binDir}\n${new File(path).getText('UTF-8')}" }.join('\n')
    text.md5()
}

/** Files of the given modules and of all they import; a package also brings its non-Python files (templates, styles). */
def importedFiles(String binDir, Collection modules, Set seen) {
    def fresh = modules.collectMany { name -> withParents(name) }.collectMany { name -> moduleFiles(binDir, name) }
        .findAll { path -> !seen.contains(path) }.toSet()
    if (!fresh) {
        return seen
    }
    def imported = fresh.findAll { path -> path.endsWith('.py') }.collectMany { path -> importsOf(new File(path).getText('UTF-8')) }
    importedFiles(binDir, imported, seen + fresh)
}

/** `a.b.c` imports a, a.b and a.b.c. */
def withParents(String name) {
    def parts = name.tokenize('.')
    (1..parts.size()).collect { n -> parts.take(n).join('.') }
}

def moduleFiles(String binDir, String name) {
    def base = new File(binDir, name.replace('.', '/'))
    def module = new File("${base}.py")
    if (module.isFile()) {
        return [module.path]
    }
    def files = base.isDirectory() ? base.listFiles().findAll { entry -> entry.isFile() } : []
    files.findAll { entry -> entry.name == '__init__.py' || !(entry.name ==~ /.*\.pyc?|\..*/) }*.path
}

/** Modules of the library named by the import statements of a source, anywhere in it. */
def importsOf(String source) {
    def plain = (source =~ /(?m)^\s*import\s+(allelegro[\w.]*)/).collect { found -> found[1] }
    def members = (source =~ /(?m)^\s*from\s+(allelegro[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)/).collect().collectMany { found ->
        def names = found[2].replaceAll(/#[^\n]*/, '').replaceAll(/[()]/, '').tokenize(',\n')*.trim()*.tokenize(' ')
        [found[1]] + names.findAll()*.first().collect { member -> "${found[1]}.${member}".toString() }
    }
    (plain + members).unique()
}

/** What each named model of a run is: its architecture, the genotypes it sees, and whether it starts from lentiMPRA. */
def modelCatalogue() {
    [
        legnet: [architecture: 'legnet', genotypes: 'personal', pretrained: true],
        reference: [architecture: 'legnet', genotypes: 'reference', pretrained: true],
        shuffled: [architecture: 'legnet', genotypes: 'shuffled', pretrained: true],
        scratch: [architecture: 'legnet', genotypes: 'personal', pretrained: false],
        clipnet: [architecture: 'clipnet', genotypes: 'personal', pretrained: false],
    ]
}

/** `1,2,5` as whole numbers. */
def numbers(value) {
    value.toString().tokenize(',')*.trim()*.toInteger()
}

/** The fold after the test fold stops training early. */
def validationFold(int test, Map given) {
    (test + 1) % given.folds.toInteger()
}

/** Where half-trained models lie: in the work directory, which Google Batch mounts; below the task when it is an object store that nobody mounts. */
def checkpointsIn(String work) {
    def folder = work.replaceFirst('^file://', '').replaceFirst('^gs://', '/mnt/disks/')
    folder.startsWith('/') ? "${folder}/checkpoints".toString() : 'checkpoints'
}

/** Everything that is trained and scored, as lists of maps: one map a task. */
def runPlan(Map given) {
    def seeds = numbers(given.seeds)
    def tests = numbers(given.test_folds)
    def pairs = given.pretrain_folds.toString().tokenize(',')*.tokenize(':')
    def models = given.models.toString().tokenize(',')*.trim().collectMany { name ->
        [tests, seeds].combinations().collect { test, seed ->
            def id = tests.size() * seeds.size() > 1 ? "${name}-fold${test}-seed${seed}" : name
            [id: id.toString(), model: name, test_fold: test, validation_fold: validationFold(test, given), seed: seed] + modelCatalogue()[name]
        }
    }
    // Fine-tuning starts from the first pair, so every test fold needs it; the other pairs only widen the lentiMPRA ensemble.
    def pretrained = [pairs, tests, seeds].combinations().findAll { pair, test, _seed -> pair == pairs[0] || test == tests[0] }.collect { pair, test, seed ->
        def many = pairs.size() * tests.size() * seeds.size() > 1
        def id = many ? "-test${pair[0]}-val${pair[1]}-without${test}-seed${seed}" : ''
        [id: id.toString(), test_fold: pair[0].toInteger(), validation_fold: pair[1].toInteger(), seed: seed, start: pair == pairs[0], held_out: [test, validationFold(test, given)]]
    }
    def windows = given.simulate || given.libraries || given.peaks || given.windows || given.counts
    [
        windows: windows, haplotypes: windows && (given.simulate || given.variants || given.haplotypes),
        models: models, pretrained: given.checkpoint ? [] : pretrained, checkpoint: given.checkpoint, pretrained_from: given.pretrained_from,
        state: "${given.checkpoints ?: checkpointsIn(workflow.workDir.toUriString())}/${workflow.sessionId}".toString(),
        shards: given.shards.toInteger(), saturate: given.saturate, score: given.score,
        scoring: given.score_models ? given.score_models.toString().tokenize(',')*.trim() : null, trained: given.trained,
    ]
}
