import fastify from 'fastify';

/**
 * The yardstick of load/http.mjs: Fastify, which answers each request with a constant from memory, and checks and writes by schemas, as is fastest
 * with it. Prints its port.
 */
const text = { type: 'string' };
const object = (properties) => ({ type: 'object', properties });
const server = fastify();
server.post(
  '/v1/increment',
  { schema: { body: object({ name: text, ack: text }), response: { 200: object({ name: text, value: text }) } } },
  async () => ({ name: 'views:0', value: '1' }),
);
server.get(
  '/v1/counters/:name',
  {
    schema: {
      response: { 200: object({ name: text, value: text, exists: { type: 'boolean' }, durable: { type: 'boolean' } }) },
    },
  },
  async () => ({ name: 'views:0', value: '1', exists: true, durable: true }),
);
await server.listen({ port: 0, host: '127.0.0.1' });
console.log(server.server.address().port);
