// Help and validation, both read from nextflow_schema.json: the single source of every parameter.

include { finetunes ; hasModels ; hasWindows ; modelCatalogue ; words } from './plan.nf'

/** The schema as a map. */
def readSchema(String path) {
    ordered(new groovy.json.JsonSlurper().parseText(file(path, glob: false).text))
}

/** Maps and lists of their own, in the order of the document; JsonSlurper's maps are not safe between threads. */
def ordered(value) {
    if (value instanceof Map) {
        return value.collectEntries { name, inner -> [name, ordered(inner)] }
    }
    value instanceof List ? value.collect { inner -> ordered(inner) } : value
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
    def unknown = help instanceof String && help != 'true'
        ? ["There is no parameter '${help}'.${suggestion(help, properties.keySet())}", ''] : []
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
    def more = 'nextflow run main.nf --help NAME explains one parameter; docs/parameters.md lists all.'
    (unknown + usage + [groups.join('\n\n'), '', more]).join('\n')
}

def typeText(Map property) {
    property['enum'] ? property['enum'].join('|') : property.type
}

def defaultText(Map property) {
    property.default == null || property.default == false ? '' : " [default: ${property.default}]"
}

/** Number of single-letter edits between two words (Levenshtein). */
def editDistance(String left, String right) {
    def first = (0..right.length()).toList()
    left.toList().withIndex().inject(first) { previous, entry ->
        def (letter, row) = entry
        right.toList().withIndex().inject([row + 1]) { current, other ->
            def (otherLetter, column) = other
            def replaced = previous[column] + (letter == otherLetter ? 0 : 1)
            current + [[current[column] + 1, previous[column + 1] + 1, replaced].min()]
        }
    }.last()
}

/** " Did you mean --x?" for the nearest known name, or nothing when none is near. */
def suggestion(String name, Collection known) {
    def plain = name.replaceAll(/([a-z])([A-Z])/, '$1_$2').replace('-', '_').toLowerCase()
    def nearest = known.min { candidate -> editDistance(plain, candidate) }
    editDistance(plain, nearest) <= Math.max(2, plain.length().intdiv(3)) ? " Did you mean --${nearest}?" : ''
}

/** What is wrong with one value, or null. The command line gives `1e-3` as text, so numbers may be text. */
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
    def numeric = property.type in ['integer', 'number']
    if (numeric && property.minimum != null && (text as BigDecimal) < property.minimum) {
        return "--${name}: ${text} is below ${property.minimum}"
    }
    if (numeric && property.maximum != null && (text as BigDecimal) > property.maximum) {
        return "--${name}: ${text} is above ${property.maximum}"
    }
    if (property.type == 'string' && value instanceof Boolean) {
        return "--${name}: a value is missing after it"
    }
    if (property['enum'] && !(text in property['enum']*.toString())) {
        return "--${name}: '${text}' is not one of ${property['enum'].join(', ')}"
    }
    if (property.list_of) {
        def wrong = text.tokenize(',')*.trim().findAll { item -> !(item in property.list_of) }
        return wrong ? "--${name}: '${wrong.join(', ')}' is not among ${property.list_of.join(', ')}" : null
    }
    if (property.pattern && !(text ==~ property.pattern)) {
        return "--${name}: '${text}' does not look like ${property.pattern}"
    }
    if (isPath(name, property) && !isReadable(text)) {
        return "--${name}: ${groovy.json.JsonOutput.toJson(text)}: a name cannot begin or end with a blank, or hold a tab or a line break; rename it"
    }
    if (property.exists && ![file(text), file(text, glob: false)].flatten().any { path -> path.exists() }) {
        return text.contains('://')
            ? "--${name}: ${text}: cannot be fetched; check the address and the network, or give a downloaded file"
            : "--${name}: ${text}: no such file or folder"
    }
    return null
}

/** All problems at once: unknown names with the nearest known one, types, choices, files and parameters missing. */
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
    def named = unknown.collect { name -> "--${name} is not a parameter.${suggestion(name, properties.keySet())}" }
    named + wrong + missingParameters(properties, given) + patternProblems(properties, given) + arrayProblems(given)
}

/** Files and folders of the user, and those of the run, whose names a task would take for patterns of other names. */
def patternProblems(Map properties, Map given) {
    def named = given.findAll { name, value ->
        isPath(name, properties[name]) && value instanceof CharSequence && isReadable(value) && !(value ==~ /(?!file:)\w+:\/\/.*/)
    }
    def inputs = named.findAll { name, _value -> properties[name].exists || name == 'trained' }.collectMany { name, value ->
        def literal = file(value, glob: false)
        (literal.exists() ? [literal] : [file(value)].flatten()).collect { path -> ["--${name}", path] }
    }
    def others = named.subMap('bowtie2_index', 'checkpoints', 'outdir').collect { name, value -> ["--${name}", file(value, glob: false)] } +
        [['-work-dir', workflow.workDir], ['the folder of the pipeline', projectDir]]
    (inputs + others).findAll { _option, path -> isPattern(path) }
        .collect { option, path -> "${option}: ${path}: ${patternRemedy()}" }
}

/** Whether a parameter names files or folders. */
def isPath(String name, Map property) {
    property?.exists || name in ['trained', 'bowtie2_index', 'checkpoints', 'outdir']
}

/** Whether Nextflow can make a path of a text at all. */
def isReadable(text) {
    text == text.trim() && !(text =~ /\p{Cntrl}/)
}

/** Whether the shell takes a path for a pattern: Nextflow writes it bare into the script that links a task's inputs. */
def isPattern(path) {
    !path.toUriString().contains('://') && path.toString() =~ /[*?\[\]{}\\]/
}

def patternRemedy() {
    'no name may hold * ? [ ] { } or \\, which make it a pattern of other names; rename the file or folder'
}

/** Nextflow's array jobs do not quote the paths of their tasks. */
def arrayProblems(Map given) {
    given.job_array && workflow.workDir.toString() =~ /\s/
        ? ["--job_array needs a work directory without spaces, not '${workflow.workDir}': give -work-dir"] : []
}

/** What a run of these parameters needs; without any input, those of a whole run. */
def missingParameters(Map properties, Map given) {
    if (given.simulate) {
        return []
    }
    def inputs = ['libraries', 'peaks', 'windows', 'counts', 'variants', 'haplotypes', 'mpra', 'trained', 'variant_sets', 'score']
    def nothing = !inputs.any { name -> given[name] }
    def aligned = given.libraries || given.peaks || given.windows
    def needed = [
        libraries: nothing || given.peaks && !given.variants && !given.counts,
        genome: nothing || !given.counts && aligned || given.variants && !given.haplotypes || given.score
            || given.variant_sets && hasModels(given),
        variants: nothing,
        variant_sets: given.comparators || given.trained && !given.score && !finetunes(given),
    ]
    def problems = needed.findAll { name, need -> need && !given[name] }.collect { name, _need ->
        "--${name} is missing: ${properties[name].description}"
    }
    problems + missingPartners(given)
}

/** What lacks the other half of a pair: variants their windows, a model its start, variants to score a model. */
def missingPartners(Map given) {
    def problems = []
    if (given.variants && !given.haplotypes && !hasWindows(given)) {
        problems << '--windows or --libraries is missing: haplotypes are made in the windows of a BED, or of PRO-cap peaks'
    }
    if ((given.score || given.variant_sets && !given.comparators) && !hasModels(given)) {
        problems << '--trained is missing: a model to score with; or train one (--mpra), or give --comparators'
    }
    def fromPretrained = words(given.models).findAll { name -> modelCatalogue()[name]?.pretrained }
    if (finetunes(given) && fromPretrained && !given.mpra && !given.checkpoint) {
        def remedy = 'start from a pretrained LegNet; or choose --models scratch,clipnet'
        problems << "--mpra or --checkpoint is missing: ${fromPretrained.join(', ')} ${remedy}"
    }
    problems
}

/** Stop with every problem listed, or return. */
def checkParameters(Map schema, Map given) {
    def problems = parameterProblems(schema, given)
    if (problems) {
        def count = "${problems.size()} problem${problems.size() == 1 ? '' : 's'}"
        error("${count} with the parameters (nextflow run main.nf --help lists them):\n  ${problems.join('\n  ')}")
    }
}
