// node:http as `require` gives it. An `import` of it reads each of its names, one of which (WebSocket) loads all of undici: 90 ms of processor
// time at every start from sources, two thirds of what Node itself takes besides.
import type * as Http from 'node:http';

export const nodeHttp: typeof Http = process.getBuiltinModule('node:http');
