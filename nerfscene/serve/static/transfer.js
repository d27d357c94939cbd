// Sends one file: by tus, which goes on where it was, or else by a plain form.

const CHUNK = 16 * 1024 * 1024;
const WAITS = [0, 1000, 3000, 5000, 10000, 20000, 30000];

// What the server said of a refusal, as a sentence.
function reason(body, status) {
  try {
    return JSON.parse(body).detail || `The server refused it (${status})`;
  } catch {
    return body && body.length < 300 && !body.includes("<") ? body : `The server refused it (${status})`;
  }
}

// file; scene: its id; token; id: of an upload that began before, or "". on: {moved(bytes), named(id), done(),
// gone(): the connection is lost, refused(why)}. Returns {stop(), go()}.
export function transfer(file, scene, token, id, on) {
  return window.tus ? byTus(file, scene, token, id, on) : byForm(file, scene, token, on);
}

function byTus(file, scene, token, id, on) {
  const upload = new window.tus.Upload(file, {
    endpoint: "/api/uploads",
    uploadUrl: id ? `/api/uploads/${id}` : null,
    chunkSize: CHUNK,
    retryDelays: WAITS,
    storeFingerprintForResuming: false, // the server lists what isn't whole
    metadata: { scene, filename: file.name, filetype: file.type },
    headers: { "X-Token": token },
    onUploadUrlAvailable: () => on.named(upload.url.split("/").pop()),
    onProgress: (sent) => on.moved(sent),
    onSuccess: () => on.done(),
    onError: (error) => {
      const answer = error.originalResponse;
      if (!answer || answer.getStatus() >= 500 || answer.getStatus() === 423) on.gone();
      else on.refused(reason(answer.getBody(), answer.getStatus()));
    },
  });
  return { stop: () => upload.abort(), go: () => upload.start() };
}

function byForm(file, scene, token, on) {
  let request = null;
  function go() {
    request = new XMLHttpRequest();
    request.open("POST", `/scenes/${scene}/upload?token=${encodeURIComponent(token)}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-Token", token);
    request.upload.onprogress = (event) => on.moved(Math.min(event.loaded, file.size));
    request.onload = () => {
      if (request.status < 400) on.done();
      else if (request.status >= 500) on.gone();
      else on.refused(reason(request.responseText, request.status));
    };
    request.onerror = () => on.gone();
    const form = new FormData();
    form.append("files", file, file.name);
    request.send(form);
  }
  return { stop: () => request?.abort(), go };
}
