"""Train runs and watch them."""

import streamlit as st

from explorer.ui.shared import urls
from explorer.ui.train import page as train

st.title("Train your own")
train.introduction()
urls.show_notices("runs")
train.order_form()
