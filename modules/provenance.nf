// What a run leaves behind about itself: resolved parameters, versions, checksums, closing words.

/** The parameters as JSON, sorted by name. */
def parametersText(Map given) {
    groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(given.sort()))
}

/** YAML of (process, "name=version …") pairs: a block a process, and Nextflow itself. */
def versionsText(List pairs, runtime) {
    def blocks = pairs.collect { process, versions ->
        def lines = versions.tokenize().collect { item -> item.tokenize('=') }.collect { name, version -> "    ${name}: '${version}'" }
        (["${process.tokenize(':').last()}:"] + lines).join('\n')
    }
    (["Workflow:\n    nextflow: '${runtime}'".toString()] + blocks.unique().sort()).join('\n')
}

/** Write a text file, its folders too. */
def writeText(String path, String text) {
    def target = file(path)
    target.parent.mkdirs()
    target.text = text + '\n'
}

/** SHA-256 of every file of a local results folder, in the layout of sha256sum; provenance files are left out. */
def writeChecksums(outdir) {
    def root = file(outdir)
    if (root.toUriString() ==~ /\w+:\/\/.*/ || !root.isDirectory()) {
        return
    }
    def lines = []
    root.eachFileRecurse { path ->
        def name = root.relativize(path).toString()
        if (path.isFile() && !name.startsWith('pipeline_info/') && name != 'SHA256SUMS') {
            lines << "${sha256(path)}  ${name}".toString()
        }
    }
    root.resolve('SHA256SUMS').text = lines.sort { line -> line.substring(66) }.join('\n') + '\n'
}

def sha256(path) {
    def digest = java.security.MessageDigest.getInstance('SHA-256')
    path.withInputStream { stream -> stream.eachByte(1 << 20) { buffer, length -> digest.update(buffer, 0, length) } }
    digest.digest().encodeHex().toString()
}
