// The page of a VM's serial console.
import "@xterm/xterm/css/xterm.css";
import "./css/console.css";
import "./actions.js";
import "./menus.js";
import "./console/serial-console.js";
