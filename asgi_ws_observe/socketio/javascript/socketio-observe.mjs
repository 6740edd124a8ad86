/** The same as socketio-observe.js, which lies beside it, for `import`. */
import "./socketio-observe.js";

export const { observe } = globalThis.socketioObserve;
export default globalThis.socketioObserve;
