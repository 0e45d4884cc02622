// The strict parser of current Nextflow over every script and configuration: each error and warning on a line.
//   .venv/bin/nf-lang tests/strict_parser.groovy
import nextflow.config.control.ConfigParser
import nextflow.script.control.ScriptParser
import org.codehaus.groovy.control.messages.SyntaxErrorMessage

def root = new File(getClass().protectionDomain.codeSource.location.path).canonicalFile.parentFile.parentFile
def files = [new File(root, 'main.nf'), new File(root, 'nextflow.config')]
['modules', 'conf', 'tests'].each { folder -> new File(root, folder).eachFileRecurse { file -> files << file } }
def parsers = [nf: new ScriptParser(), config: new ConfigParser()]
files.each { file -> parsers[file.name.tokenize('.').last()]?.parse(file) }

def problems = parsers.values().collectMany { parser ->
    parser.analyze()
    parser.compiler().sources.values().collectMany { source ->
        def name = root.toPath().relativize(new File(source.name).canonicalFile.toPath())
        def errors = source.errorCollector.errors.findAll { message -> message instanceof SyntaxErrorMessage }*.cause
        errors.collect { error -> "${name}:${error.startLine}: error: ${error.originalMessage}".toString() } +
            source.errorCollector.warnings.collect { warning ->
                "${name}:${warning.context.startLine}: ${warning.message}".toString()
            }
    }
}.unique()
problems.sort().each { problem -> println(problem) }
println("${parsers.values().sum { parser -> parser.compiler().sources.size() }} files, ${problems.size()} problems")
System.exit(problems ? 1 : 0)
