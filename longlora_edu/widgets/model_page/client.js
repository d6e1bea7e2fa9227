// The page's side of the worker: a call is a promise that can be stopped, and says how far it is.

export function startEngine(source) {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(address);
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, result, error, ...news } }) => {
    const call = waiting.get(id);
    if (!call) return;
    if (!result && !error) return call.hear(news);
    waiting.delete(id);
    if (result) call.resolve(result);
    else call.reject(new Error(error));
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "the worker could not start"));
    waiting.clear();
  };

  // `hear` is told of { share } and { written } on the way. A stopped call is rejected with the message "stopped".
  function call(job, given = {}, hear = () => {}, transfer = []) {
    const id = ++last;
    const promise = new Promise((resolve, reject) => waiting.set(id, { resolve, reject, hear }));
    worker.postMessage({ id, job, ...given }, transfer);
    return Object.assign(promise, { stop: () => worker.postMessage({ stop: id }) });
  }

  function end() {
    worker.terminate();
    URL.revokeObjectURL(address);
  }
  return { call, end };
}
