// Sends one file with tus-js-client, as its one argument (JSON) says, and prints what happened as one line of JSON.
const fs = require('fs')
const { Upload } = require('tus-js-client')

const told = JSON.parse(process.argv[2])
const seen = { requests: [], document: null, url: null, error: null, terminated: false }
const finish = (error) => {
  seen.error = error ? String(error.message || error) : null
  seen.url = upload.url
  console.log(JSON.stringify(seen))
  process.exit(0)
}

const upload = new Upload(fs.createReadStream(told.file), {
  endpoint: told.endpoint,
  headers: { Authorization: `Bearer ${told.key}` },
  metadata: { filename: told.name, filetype: 'text/plain' },
  retryDelays: [50, 100, 200, 500, 1000, 2000],
  chunkSize: told.chunkSize || Infinity,
  uploadDataDuringCreation: told.during || false,
  storeFingerprintForResuming: false,
  onBeforeRequest(request) {
    if (told.checksum && request.getMethod() === 'PATCH') request.setHeader('Upload-Checksum', told.checksum)
  },
  onAfterResponse(request, response) {
    seen.requests.push(`${request.getMethod()} ${response.getStatus()}`)
    seen.document = response.getHeader('Lettercase-Document') || seen.document
  },
  onChunkComplete(_, accepted) {
    if (told.terminateAt && accepted >= told.terminateAt) {
      seen.terminated = true
      upload.abort(true).then(() => finish(null), finish)
    }
  },
  onError: finish,
  onSuccess: () => finish(null),
})
upload.start()
