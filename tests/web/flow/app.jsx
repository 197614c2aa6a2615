/** The same mesh in React Flow, as one would write it in an afternoon: one node a backend and model, one edge each. */
import "@xyflow/react/dist/style.css";
import { ReactFlow } from "@xyflow/react";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const mesh = await (await fetch("/mesh.json")).json();
const COLOURS = { healthy: "#3ae3c0", unhealthy: "#e64022", warming: "#ffd94a", unknown: "#d2ae44" };

/** A new latency on every backend, as a tick brings it. */
function graph(tick) {
  const nodes = [{ id: "router", position: { x: 0, y: 20000 }, data: { label: "Router" } }];
  const edges = [];
  let y = 0;
  for (const b of mesh.backends) {
    const ms = Math.round((b.latency_ms ?? 0) + tick);
    const style = { stroke: COLOURS[b.health.state] };
    nodes.push({ id: b.id, position: { x: 400, y }, data: { label: `${b.name} ${ms} ms` } });
    edges.push({ id: `e${b.id}`, source: "router", target: b.id, label: `${ms} ms`, style });
    b.models.forEach((model, i) => {
      const id = `${b.id}/${i}`;
      nodes.push({ id, position: { x: 700 + (i % 4) * 180, y: y + Math.floor(i / 4) * 46 }, data: { label: model } });
      edges.push({ id: `e${id}`, source: b.id, target: id, style });
    });
    y += Math.max(1, Math.ceil(b.models.length / 4)) * 46 + 20;
  }
  return { nodes, edges };
}

function Page() {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    window.tick = () => setTick((t) => t + 1);
  }, []);
  return <div style={{ width: "100vw", height: "100vh" }}><ReactFlow {...graph(tick)} fitView minZoom={0.01} /></div>;
}

createRoot(document.getElementById("root")).render(<Page />);
