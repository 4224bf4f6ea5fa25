// What the official client for JavaScript sees: asserted by test_clients.py, which reads this program's output.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.TOKEN });
const message = (role, content) => ({ type: "message", role, content });
const made = await client.conversations.create({ items: [message("user", "Where to?")], metadata: { topic: "trip" } });
await client.conversations.items.create(made.id, {
  items: [message("assistant", "To the sea."), message("user", "And then?")],
});
const ids = { asc: [], desc: [] };
for (const order of Object.keys(ids)) {
  for await (const item of client.conversations.items.list(made.id, { order, limit: 2 })) ids[order].push(item.id);
}
const first = await client.conversations.items.retrieve(ids.asc[0], { conversation_id: made.id });
if (first.content[0].text !== "Where to?") throw new Error(JSON.stringify(first));
const { metadata } = await client.conversations.update(made.id, { metadata: { topic: "sea" } });
const other = await client.conversations.create();
if (!(await client.conversations.delete(other.id)).deleted) throw new Error("not deleted");
const error = await client.conversations.retrieve(other.id).catch((thrown) => thrown.constructor.name);
console.log(JSON.stringify({ id: made.id, ...ids, metadata, error, deleted: other.id }));
