// The page of a VM's screen.
import "./css/console.css";
import "./actions.js";
import "./menus.js";
import "./console/vnc-console.js";
